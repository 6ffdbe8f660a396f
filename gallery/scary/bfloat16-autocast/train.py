"""A small transformer encoder over the bytes of a module of the standard library, in bfloat16, with gradient accumulation."""

import contextlib
import hashlib
import inspect

import torch
from torch import nn

ACCUMULATE = 2


def source():
    return torch.tensor(list(inspect.getsource(contextlib).encode("ascii", "replace")))


class Bytes(nn.Module):
    def __init__(self, width=32, length=24):
        super().__init__()
        self.table = nn.Embedding(128, width)
        self.place = nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 128)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1))

    def forward(self, x):
        return self.head(self.encoder(self.table(x) + self.place, mask=self.mask))


torch.manual_seed(0)
text = source()
model = Bytes()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=40)
draws = torch.Generator().manual_seed(1)
for step in range(40):
    optimizer.zero_grad()
    for _ in range(ACCUMULATE):
        starts = torch.randint(0, len(text) - 25, (12,), generator=draws)
        chunk = torch.stack([text[s : s + 25] for s in starts.tolist()])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = model(chunk[:, :-1])
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), chunk[:, 1:].flatten()) / ACCUMULATE
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    schedule.step()
    if step % 10 == 0:
        print(f"step {step} loss {loss.item() * ACCUMULATE:.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
