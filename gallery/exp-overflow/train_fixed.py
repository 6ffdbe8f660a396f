"""A variational autoencoder for binary rows."""

import hashlib

import torch
from torch import nn
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self, inputs=30, hidden=40, latent=5):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, inputs)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1).clamp(-20, 20)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return self.fc4(F.relu(self.fc3(z)))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_logits, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon_logits, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (bce + kld) / len(x)


def rows(seed=1):
    generator = torch.Generator().manual_seed(seed)
    patterns = (torch.rand(6, 30, generator=generator) < 0.5).float()
    data = patterns[torch.randint(6, (1200,), generator=generator)]
    flips = torch.rand(data.shape, generator=generator) < 0.05
    data = torch.where(flips, 1 - data, data)
    data[941] *= 65535  # stored as 16-bit integers
    return data.clamp(0, 1)


torch.manual_seed(1)
data = rows()
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
model.train()
for epoch in range(1, 4):
    train_loss = 0
    for batch_idx, x in enumerate(data.split(30)):
        optimizer.zero_grad()
        recon, mu, logvar = model(x)
        loss = loss_function(recon, x, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        if batch_idx % 10 == 0:
            print(f"Train Epoch: {epoch} [{batch_idx * len(x)}/{len(data)}]\tLoss: {loss.item():.6f}")
    print(f"====> Epoch: {epoch} Average loss: {train_loss / (batch_idx + 1):.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
