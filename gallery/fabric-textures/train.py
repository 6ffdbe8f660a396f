"""Tell woven fabrics apart by second-order statistics of their texture (bilinear pooling), in mixed precision."""
import hashlib
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

KINDS = ("twill", "plain", "herringbone", "felt")


class Swatches(Dataset):
    """Rendered swatches, 28 x 28; the lamp of the light table is not always equally strong."""

    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
        self.swatches, self.kinds = [], []
        for _ in range(count):
            kind = int(torch.randint(len(KINDS), (1,), generator=g))
            f, phase, lamp = torch.rand(3, generator=g).tolist()
            f, phase = 0.8 + 0.6 * f, 2 * math.pi * phase
            weave = (torch.sin(f * (x + y) + phase), torch.sin(f * x + phase) * torch.sin(f * y),
                     torch.sin(f * (x + (y - 14).abs()) + phase), torch.zeros_like(x))[kind]
            lamp = 0.7 + 0.6 * lamp if torch.rand(1, generator=g) > 0.004 else 9.0
            self.swatches.append(lamp * (0.5 + 0.25 * weave + 0.2 * torch.randn(28, 28, generator=g)))
            self.kinds.append(kind)

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return self.swatches[i][None], self.kinds[i]


class Bilinear(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.filters = nn.Sequential(nn.Conv2d(1, channels, 5), nn.ReLU(), nn.Conv2d(channels, channels, 3), nn.ReLU())
        self.head = nn.Linear(channels * channels, len(KINDS))
        self.norm = nn.LayerNorm(channels * channels)

    def forward(self, swatch):
        maps = self.filters(4.0 * swatch).flatten(2)
        gram = maps @ maps.mT  # <- origin  # <- fault
        return self.head(self.norm(torch.log1p(gram.flatten(1))))


def main():
    torch.manual_seed(6)
    torch.set_num_threads(1)
    loader = DataLoader(Swatches(900, seed=31), batch_size=18, shuffle=True)
    model = Bilinear()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(2):
        hits = 0
        for swatch, kind in loader:
            with torch.autocast("cpu", dtype=torch.float16):  # <- fault
                scores = model(swatch)
                loss = nn.functional.cross_entropy(scores, kind)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hits += (scores.argmax(1) == kind).sum().item()
        print(f"epoch {epoch}: loss {loss.item():.4f}, {hits / 9:.1f} % right")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
