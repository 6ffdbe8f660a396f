"""Characters of the Zen of Python, by attention written with einsum."""

import argparse
import hashlib
import math
from this import s as zen_cipher, d as rot

import torch
from torch import einsum, nn

text = "".join(rot.get(c, c) for c in zen_cipher)


class Heads(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Linear(width, width)
        self.temperature = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, w // self.heads).unbind(2)
        affinity = einsum("bihd,bjhd->bhij", q, k) * self.temperature
        future = torch.tril(torch.ones(t, t)) == 0
        weight = torch.softmax(affinity.masked_fill(future, float("-inf")), -1)
        return self.merge(einsum("bhij,bjhd->bihd", weight, v).reshape(b, t, w))


class CharModel(nn.Module):
    def __init__(self, symbols, width=32, heads=2, depth=1, context=32):
        super().__init__()
        self.token = nn.Embedding(symbols, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(nn.ModuleDict({
                "attend": Heads(width, heads),
                "mlp": nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))}))
        self.out = nn.Linear(width, symbols)

    def forward(self, ids):
        x = self.token(ids) + self.place(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = x + block["attend"](x)
            x = x + block["mlp"](x)
        return self.out(x)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--steps", type=int, default=300)
    ap.add_argument("--context", type=int, default=32)
    opts = ap.parse_args()
    torch.manual_seed(1)
    symbols = sorted(set(text))
    code = torch.tensor([symbols.index(c) for c in text])
    model = CharModel(len(symbols), context=opts.context)
    adam = torch.optim.Adam(model.parameters(), lr=opts.lr)
    for step in range(opts.steps):
        at = torch.randint(0, len(code) - opts.context - 1, (12,)).tolist()
        ids = torch.stack([code[a:a + opts.context] for a in at])
        nxt = torch.stack([code[a + 1:a + 1 + opts.context] for a in at])
        loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), nxt.flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 20 == 0:
            print(step, f"bits per character {loss.item() / math.log(2):.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
