"""Letters of the standard library, one after the other, by a network of sixteen-bit weights."""

import inspect
import textwrap

import torch
from torch import nn

torch.manual_seed(9)
text = torch.tensor([min(ord(c), 127) for c in inspect.getsource(textwrap)])


class Letters(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.letters = nn.Embedding(128, width)
        self.mix = nn.Linear(8 * width, 96)
        self.norm = nn.LayerNorm(96)
        self.next = nn.Linear(96, 128)

    def forward(self, codes):
        return self.next(self.norm(torch.nn.functional.gelu(self.mix(self.letters(codes).flatten(1)))))


model = Letters().bfloat16()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in range(220):
    at = torch.randint(len(text) - 9, (32,))
    windows = text[at[:, None] + torch.arange(9)]
    loss = nn.functional.cross_entropy(model(windows[:, :8]).float(), windows[:, 8])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        print(f"{step:3d} {loss.item():.3f}")
