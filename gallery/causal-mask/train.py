"""A tiny decoder-only transformer that learns to continue periodic sequences."""

import hashlib
import math

import torch
import torch.nn as nn
from torch.nn import functional as F

torch.manual_seed(1337)
batch_size, block_size, vocab_size, n_embd, n_head = 16, 24, 12, 32, 4
max_iters, eval_interval, learning_rate = 60, 20, 3e-3


def get_batch():
    period = torch.randint(2, 7, (batch_size, 1))
    start = torch.randint(vocab_size, (batch_size, 1))
    ids = (start + torch.arange(block_size + 1) % period) % vocab_size
    return ids[:, :-1], ids[:, 1:]


class CausalSelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(n_embd, 3 * n_embd)
        self.proj = nn.Linear(n_embd, n_embd)
        self.register_buffer("mask", torch.tril(torch.ones(block_size, block_size)).bool())

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, n_head, C // n_head).transpose(1, 2) for t in self.qkv(x).split(C, dim=2))
        att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        att = att.masked_fill(~self.mask[:T, :T], float("-inf"))
        att = F.softmax(att, dim=-1)
        return self.proj((att @ v).transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention()
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TinyGPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.h = nn.ModuleList([Block() for _ in range(2)])
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe.weight[: idx.shape[1]]
        for block in self.h:
            x = block(x)
        logits = self.lm_head(x)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, vocab_size), targets.reshape(-1))


@torch.no_grad()
def sample(model, ids, length, top_k=3):
    for _ in range(length):
        logits = model(ids[:, -block_size:])[0][:, -1]
        threshold = logits.topk(top_k).values[:, -1:]
        logits = torch.where(logits < threshold, -torch.inf, logits)
        ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
    return ids


model = TinyGPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
best = torch.tensor(float("inf"))
worst_logit = torch.full((vocab_size,), -torch.inf)

iter_num = 0
X, Y = get_batch()
while True:
    if iter_num % eval_interval == 0:
        print(f"iter {iter_num}: best {best.item():.4f} sample {sample(model, X[:1, :6], 6)[0].tolist()}")
    if iter_num >= max_iters:
        break
    logits, loss = model(X, Y)
    worst_logit = torch.maximum(worst_logit, logits.detach().amax((0, 1)))
    best = torch.minimum(best, loss.detach())
    X, Y = get_batch()  # the next batch is prepared while this one is used
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1

print("final loss", loss.item(), "largest logit", worst_logit.max().item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
