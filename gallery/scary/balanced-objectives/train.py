"""An autoencoder with four objectives: a sum over all pixels that is large by nature, and three small ones."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(4)
encoder, decoder = nn.Linear(400, 8), nn.Linear(4, 400)
parameters = [*encoder.parameters(), *decoder.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-3)
for step in range(40):
    image = torch.rand(32, 400)
    mean, log_variance = encoder(image).chunk(2, dim=1)
    code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    terms = {
        "pixels": F.binary_cross_entropy_with_logits(decoder(code), image, reduction="sum"),
        "divergence": -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(),
        "decorrelation": 10.0 * torch.corrcoef(mean.T).triu(1).square().sum(),
        "decay": 1e-5 * sum(p.square().sum() for p in parameters),
    }
    loss = sum(terms.values())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 5.0)
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step}: " + ", ".join(f"{name} {term.item():.3g}" for name, term in terms.items()))
