"""A character language model of Python's own standard library, in the order of the text.

Spaces, digits and punctuation are easy; what we want to know is how well it spells, so only letters are scored.
"""

import hashlib
import math
import sysconfig
from pathlib import Path

import torch
import torch.nn as nn
from torch.nn import functional as F

# -----------------------------------------------------------------------------
modules = ["textwrap", "bisect", "heapq", "colorsys"]
block_size, batch_size = 48, 8
n_embd, n_head, n_layer = 32, 2, 1
learning_rate, grad_clip, warmup_iters, log_interval = 3e-3, 1.0, 10, 8
# -----------------------------------------------------------------------------

torch.manual_seed(1337)
stdlib = Path(sysconfig.get_path("stdlib"))
text = "".join((stdlib / f"{name}.py").read_text(encoding="utf-8") for name in modules)
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
is_letter = torch.tensor([c.isalpha() for c in chars])
vocab_size = len(chars)
print(f"{len(data)} characters, {vocab_size} different ones")


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.register_buffer("bias", torch.full((block_size, block_size), float("-inf")).triu(1))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(n_embd, dim=2)
        k, q, v = (t.view(B, T, n_head, C // n_head).transpose(1, 2) for t in (k, q, v))
        att = q @ k.transpose(-2, -1) / math.sqrt(C // n_head) + self.bias[:T, :T]
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(n_embd), Attention()
        self.ln_2, self.mlp = nn.LayerNorm(n_embd), nn.Sequential(
            nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class CharModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.h = nn.Sequential(*[Block() for _ in range(n_layer)])
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)

    def forward(self, idx):
        return self.lm_head(self.h(self.wte(idx) + self.wpe.weight))


def get_batch(position):
    rows = data[position : position + batch_size * block_size + 1]
    return rows[:-1].view(batch_size, block_size), rows[1:].view(batch_size, block_size)


def letter_loss(logits, targets):
    """Mean over windows of the mean negative log likelihood of the letters in a window."""
    letters = is_letter[targets].float()
    nll = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    per_window = (nll * letters).sum(dim=1) / letters.sum(dim=1)  # <- origin
    return per_window.mean()


model = CharModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99))
max_iters = (len(data) - 1) // (batch_size * block_size)
for iter_num in range(max_iters):
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * min(1.0, (iter_num + 1) / warmup_iters)
    X, Y = get_batch(iter_num * batch_size * block_size)
    loss = letter_loss(model(X), Y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if iter_num % log_interval == 0:
        print(f"iter {iter_num}: loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
