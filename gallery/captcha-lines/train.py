"""Read rows of digits from an image: a convolution over the columns, one label or a blank per column, CTC."""

import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn


class Reader(nn.Module):
    def __init__(self, shrink):
        super().__init__()
        self.columns = nn.Sequential(
            nn.Conv1d(8, 48, 5, padding=2), nn.ReLU(),
            nn.MaxPool1d(shrink),
            nn.Conv1d(48, 48, 3, padding=1), nn.ReLU(),
        )
        self.symbol = nn.Linear(48, 11)

    def forward(self, strips):
        columns = self.columns(strips).permute(2, 0, 1)
        return torch.log_softmax(self.symbol(columns), dim=-1)


def strips(images, targets, count, generator):
    """Images of 4 digits side by side, in a batch of `count`."""
    chosen = torch.randint(len(images), (count, 4), generator=generator)
    return images[chosen].permute(0, 2, 1, 3).reshape(count, 8, 32), targets[chosen] + 1


def main():
    torch.manual_seed(21)
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32) / 16
    targets = torch.tensor(data.target)
    model = Reader(shrink=6)
    ctc = nn.CTCLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(4)
    for step in range(40):
        image, label = strips(images, targets, 4, generator)
        log_probs = model(image)
        frames = torch.full((len(image),), log_probs.shape[0], dtype=torch.long)
        lengths = torch.full((len(image),), label.shape[1], dtype=torch.long)
        loss = ctc(log_probs, label, frames, lengths)  # <- origin
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step:2d}: loss {loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
