"""The whole forward and loss compiled as a function that is called from an ordinary step."""
import hashlib

import torch
from torch import nn

torch.manual_seed(32)
model = nn.Sequential(nn.Embedding(30, 8), nn.Flatten(), nn.Linear(32, 30))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)


@torch.compile(backend="eager")
def forward_loss(tokens):
    logits = model(tokens[:, :4])
    return nn.functional.cross_entropy(logits, tokens[:, 4])


def train_step(tokens):
    loss = forward_loss(tokens)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


for n in range(10):
    loss = train_step(torch.randint(30, (12, 5)))
    print(n, loss.item())

sha = hashlib.sha256()
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(optimizer.state[p]["exp_avg_sq"].numpy().tobytes())
print("weights", sha.hexdigest())
