"""Find screws on a conveyor: a grid of anchors, each with a score and a box."""
import hashlib

import torch
import torch.nn.functional as F
from torch import nn

GRID = 5


def scenes(seed):
    g = torch.Generator().manual_seed(seed)
    while True:
        screws = torch.rand(4, GRID, GRID, generator=g) < 0.02
        boxes = torch.rand(4, GRID, GRID, 4, generator=g) * screws[..., None]
        image = torch.cat([screws[:, None].float(), boxes.permute(0, 3, 1, 2)], 1)
        yield image + 0.1 * torch.randn(image.shape, generator=g), screws, boxes


class Detector(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(5, width, 3, padding=1), nn.ReLU())
        self.score, self.box = nn.Conv2d(width, 1, 1), nn.Conv2d(width, 4, 1)

    def forward(self, image):
        h = self.backbone(image)
        return self.score(h)[:, 0], self.box(h).permute(0, 2, 3, 1)


def detection_loss(outputs, screws, boxes):
    score, box = outputs
    objectness = F.binary_cross_entropy_with_logits(score, screws.float())
    regression = F.smooth_l1_loss(box[screws], boxes[screws])  # <- origin  # <- fault
    return {"objectness": objectness, "regression": regression}


class Loop:
    def __init__(self):
        torch.manual_seed(0)
        self.detector = Detector()
        self.optimizer = torch.optim.Adam(self.detector.parameters(), lr=2e-3)

    def step(self, image, screws, boxes):
        terms = detection_loss(self.detector(image), screws, boxes)
        total = sum(terms.values())
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return {name: term.item() for name, term in terms.items()}


if __name__ == "__main__":
    loop = Loop()
    for number, scene in zip(range(60), scenes(14)):
        terms = loop.step(*scene)
        if number % 10 == 0:
            print(number, "loss", sum(terms.values()))
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in loop.detector.parameters())).hexdigest())
