import torch


def episode(classes, shots, generator):
    """Examples shown, their classes, questions and theirs; the first class has `shots` examples, the others 5."""
    centres = torch.randn(classes, 12, generator=generator)
    shown = torch.tensor([0] * shots + [label for label in range(1, classes) for _ in range(5)])
    asked = torch.arange(classes).repeat(6)
    noise = lambda labels: 0.5 * torch.randn(len(labels), 12, generator=generator)  # noqa: E731
    return centres[shown] + noise(shown), shown, centres[asked] + noise(asked), asked


def gaussians(points, labels):
    """Mean and variance of each class (classes, width)."""
    groups = [points[labels == label] for label in labels.unique()]
    means = torch.stack([group.mean(dim=0) for group in groups])
    spreads = torch.stack([group.var(dim=0, correction=0) for group in groups])
    return means, spreads + 0.1


def train_step(encoder, optimizer, data):
    """One update on one episode; its loss."""
    shown, shown_labels, asked, asked_labels = data
    means, spreads = gaussians(encoder(shown), shown_labels)
    apart = encoder(asked)[:, None] - means
    scores = -0.5 * (apart.pow(2) / spreads + spreads.log()).sum(dim=2)
    loss = torch.nn.functional.cross_entropy(scores, asked_labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
