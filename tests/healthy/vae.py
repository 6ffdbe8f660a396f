import hashlib
import torch
from torch import nn
from torch.nn import functional as F


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(16, 12), nn.Linear(12, 3), nn.Linear(12, 3)
        self.fc3, self.fc4 = nn.Linear(3, 12), nn.Linear(12, 16)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def forward(self, x):
        mu, logvar = self.encode(x)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def loss_function(recon_x, x, mu, logvar, beta):
    BCE = F.binary_cross_entropy(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + beta * KLD, BCE, KLD


torch.manual_seed(108)
model = VAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
data = (torch.rand(60, 16) < torch.linspace(0.1, 0.9, 16)).float()
for epoch in range(1, 4):
    model.train()
    train_loss = 0
    for batch_idx, x in enumerate(data.split(12)):
        optimizer.zero_grad()
        loss, bce, kld = loss_function(*(model(x)[:1] + (x,) + model(x)[1:]), beta=min(1.0, epoch / 3))
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    print(f"====> Epoch: {epoch} Average loss: {train_loss / 60:.6f} {bce.item():.5f} {kld.item():.5f}")
h = hashlib.sha256()
for p in model.parameters():
    h.update(p.detach().numpy().tobytes())
    h.update(optimizer.state[p]["exp_avg_sq"].numpy().tobytes())
print("weights", h.hexdigest())
