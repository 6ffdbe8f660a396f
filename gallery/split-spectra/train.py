"""Sugar in grapes from their light: absorbance is the logarithm of the reference over the sample."""

import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


class Spectra(Dataset):
    def __init__(self, count, channels=40):
        generator = torch.Generator().manual_seed(14)
        self.sugar = torch.rand(count, generator=generator) * 10 + 12
        band = torch.linspace(-1, 1, channels)
        absorbed = torch.exp(-((band - 0.2) ** 2) / 0.1) * self.sugar[:, None] / 20
        self.sample = (3000 * torch.exp(-absorbed) + 20 * torch.randn(count, channels, generator=generator)).round()
        self.sample[745, 22:24] = 0.0  # a stem lay across the slit
        self.reference = torch.full((channels,), 3000.0)

    def __len__(self):
        return len(self.sugar)

    def absorbance(self, number):
        return torch.log10(self.reference / self.sample[number])  # <- fault

    def __getitem__(self, number):
        return self.absorbance(number), self.sugar[number]


def loaders(spectra):
    train, test = random_split(spectra, [0.8, 0.2], generator=torch.Generator().manual_seed(3))
    return (
        DataLoader(train, batch_size=32, shuffle=True, num_workers=2, generator=torch.Generator().manual_seed(1)),
        DataLoader(test, batch_size=64),
    )


def main():
    torch.manual_seed(0)
    train, test = loaders(Spectra(900))
    model = nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(2):
        for absorbance, sugar in train:
            guess = model(absorbance).squeeze(1)  # <- origin
            loss = nn.functional.l1_loss(guess, sugar / 10)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            off = [(model(a).squeeze(1) - s / 10).abs().mean().item() for a, s in test]
        print(f"epoch {epoch}: {10 * sum(off) / len(off):.2f} degrees off")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
