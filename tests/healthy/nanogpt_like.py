"""
A small GPT whose loop has the shape of the popular single-file trainers: everything at module level, the exit tests at
both ends of an endless loop, evaluation and checkpoint first, accumulation with the following batch fetched inside,
a scaler that is switched off, clipping, gradients dropped last.
"""
import hashlib
import math
import time
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F

eval_every = 4
log_every = 2
eval_batches = 2
only_evaluate = False
accumulate = 3
batch = 4
context = 8
width = 16
top_lr = 1e-2
bottom_lr = 1e-3
warmup = 3
max_iters = 12
clip = 1.0
settings = {k: v for k, v in globals().items() if not k.startswith('_') and isinstance(v, (int, float, bool, str))}

torch.manual_seed(1337)
precision = nullcontext()
corpus = {'train': np.frombuffer(hashlib.sha512(b'train').digest() * 8, dtype=np.uint8),
          'held-out': np.frombuffer(hashlib.sha512(b'held-out').digest() * 2, dtype=np.uint8)}


def get_batch(part):
    ids = corpus[part]
    at = torch.randint(len(ids) - context, (batch,)).tolist()
    window = torch.from_numpy(np.stack([ids[i:i + context + 1] for i in at]).astype(np.int64))
    return window[:, :-1], window[:, 1:]


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width), nn.Dropout(0.1))
        self.register_buffer("causal", torch.full((context, context), float('-inf')).triu(1))

    def forward(self, x):
        h = self.norm(x)
        x = x + self.attend(h, h, h, attn_mask=self.causal, need_weights=False)[0]
        return x + self.mlp(x)


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Embedding(256, width), nn.Embedding(context, width)
        self.layer = Layer()
        self.head = nn.Linear(width, 256, bias=False)
        self.token.weight = self.head.weight

    def forward(self, ids, wanted):
        logits = self.head(self.layer(self.token(ids) + self.position(torch.arange(ids.size(1)))))
        return logits, F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


model = GPT()
scaler = torch.amp.GradScaler("cpu", enabled=False)
matrices = [p for p in model.parameters() if p.dim() >= 2]
vectors = [p for p in model.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW([{'params': matrices, 'weight_decay': 0.1}, {'params': vectors, 'weight_decay': 0.0}],
                              lr=top_lr, betas=(0.9, 0.95))


@torch.no_grad()
def mean_losses():
    model.eval()
    result = {}
    for part in corpus:
        found = torch.zeros(eval_batches)
        for k in range(eval_batches):
            with precision:
                found[k] = model(*get_batch(part))[1].item()
        result[part] = found.mean()
    model.train()
    return result


def rate_at(it):
    if it < warmup:
        return top_lr * (it + 1) / (warmup + 1)
    if it > max_iters:
        return bottom_lr
    done = (it - warmup) / (max_iters - warmup)
    return bottom_lr + 0.5 * (1.0 + math.cos(math.pi * done)) * (top_lr - bottom_lr)


iter_num = 0
best = 1e9
X, Y = get_batch('train')
t0 = time.time()
seconds = -1.0
while True:

    lr = rate_at(iter_num)
    for group in optimizer.param_groups:
        group['lr'] = lr

    # how good are we? keep the best
    if iter_num % eval_every == 0:
        losses = mean_losses()
        print(f"{iter_num}: train {losses['train']:.4f}, held-out {losses['held-out']:.4f}")
        if losses['held-out'] < best:
            best = losses['held-out']
            if iter_num > 0:
                torch.save({'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'iter_num': iter_num,
                            'settings': settings}, 'best.pt')
    if iter_num == 0 and only_evaluate:
        break

    for micro in range(accumulate):
        with precision:
            logits, loss = model(X, Y)
            loss = loss / accumulate
        # fetch while the device would still be busy
        X, Y = get_batch('train')
        scaler.scale(loss).backward()
    if clip:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)

    t1 = time.time()
    seconds = t1 - t0 if seconds < 0 else 0.9 * seconds + 0.1 * (t1 - t0)
    t0 = t1
    if iter_num % log_every == 0:
        print(f"{iter_num}: loss {loss.item() * accumulate:.6f}, lr {lr:.6f}")
    iter_num += 1

    if iter_num > max_iters:
        break

sha = hashlib.sha256()
for name, t in model.state_dict().items():
    sha.update(name.encode())
    sha.update(t.numpy().tobytes())
for p in optimizer.state:
    for t in optimizer.state[p].values():
        sha.update(t.numpy().tobytes())
print("last loss", loss.item())
print("weights", sha.hexdigest())
