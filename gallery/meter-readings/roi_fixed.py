import torch


def pool_boxes(maps, boxes, stride):
    """Average of the feature map under each image's box; boxes are (top, left, bottom, right) in pixels."""
    pooled = []
    for feature, box in zip(maps, boxes):
        top, left, bottom, right = (int(edge) // stride for edge in box)
        bottom, right = max(bottom, top + 1), max(right, left + 1)
        pooled.append(feature[:, top:bottom, left:right].mean(dim=(1, 2)))
    return torch.stack(pooled)
