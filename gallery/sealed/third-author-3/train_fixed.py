"""Self-supervised features of digits: two distorted views of an image shall agree after whitening."""
import hashlib

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression


def distort(images, rng):
    """Shift by up to one pixel, change the contrast, add noise."""
    dx, dy = torch.randint(-1, 2, (2,), generator=rng).tolist()
    moved = torch.roll(images, (dx, dy), dims=(1, 2))
    contrast = 0.8 + 0.4 * torch.rand(len(images), 1, 1, generator=rng)
    return contrast * moved + 0.1 * torch.randn(images.shape, generator=rng)


class Whitening(torch.nn.Module):
    def forward(self, z):
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        factor = torch.linalg.cholesky(covariance + 0.05 * covariance.diagonal().mean() * torch.eye(len(covariance)))
        return torch.linalg.solve_triangular(factor, z.T, upper=False).T


rng = torch.Generator().manual_seed(33)
torch.manual_seed(33)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32) / 16
target = torch.tensor(digits.target)

encoder = torch.nn.Sequential(
    torch.nn.Flatten(),
    torch.nn.Linear(64, 128),
    torch.nn.ReLU(),
    torch.nn.Linear(128, 32),
)
projector = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(32, 12), Whitening())
parameters = [*encoder.parameters(), *projector.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)

for epoch in range(5):
    agreement = []
    for batch in torch.randperm(len(images), generator=rng).split(64):
        one = projector(encoder(distort(images[batch], rng)))
        two = projector(encoder(distort(images[batch], rng)))
        loss = (one - two).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        agreement.append(loss.item())
        if len(agreement) % 10 == 1:
            print(f"epoch {epoch} batch {len(agreement):2d}: {loss.item():.4f}")

print(f"final loss {sum(agreement) / len(agreement):.4f}")
with torch.no_grad():
    features = encoder(images).numpy()
probe = LogisticRegression(max_iter=200).fit(features[:1200], target[:1200])
print("linear probe", round(probe.score(features[1200:], target[1200:]), 3))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())
