import hashlib
import random
import re

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

NAMES = "zero one two three four five six seven eight nine".split()
TEMPLATES = ["a scan of the digit {n}", "{n}, written by hand", "the number {n}", "somebody wrote {n} here", "{a} {n}", "handwritten {n} (8x8)",
             "this is {a} {n}", "{N}", "probably {a} {n}", "{n} - {tone}"]
STOP = {"a", "an", "the", "of", "is", "this", "it", "by", "here", "on", "no"}


def caption(rng, digit, ink):
    if rng.random() < 0.001:
        return rng.choice(["?", "...", "this", "n/a", "8x8"])
    tone = "bold" if ink > 340 else "thin" if ink < 280 else "regular"
    return rng.choice(TEMPLATES).format(n=NAMES[digit], N=NAMES[digit].upper(), a="an" if digit == 8 else "a", tone=tone)


def words(text):
    return [w for w in re.findall(r"[a-z]{2,}", text.lower()) if w not in STOP]


class Captioned(Dataset):
    def __init__(self, seed):
        rng = random.Random(seed)
        raw = load_digits()
        self.images = torch.tensor(raw.images, dtype=torch.float32)[:, None] / 16
        self.texts = [caption(rng, d, img.sum()) for d, img in zip(raw.target, raw.images)]
        self.lexicon = {w: i for i, w in enumerate(sorted({w for t in self.texts for w in words(t)}))}

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        bag = torch.zeros(len(self.lexicon))
        for w in words(self.texts[i]):
            bag[self.lexicon[w]] += 1
        return self.images[i], bag


class TwoTowers(nn.Module):
    def __init__(self, lexicon, width=32):
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, width))
        self.read = nn.Linear(lexicon, width, bias=False)
        self.heat = nn.Parameter(torch.tensor(1.5))

    def forward(self, image, bag):
        v, t = self.see(image), self.read(bag)
        v, t = (z * torch.rsqrt(z.square().sum(-1, keepdim=True) + 1e-6) for z in (v, t))
        return self.heat.exp() * v @ t.mT


def main():
    torch.manual_seed(2)
    torch.set_num_threads(1)
    data = Captioned(seed=17)
    model = TwoTowers(len(data.lexicon))
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in range(4):
        run = []
        for image, bag in DataLoader(data, 32, shuffle=True, drop_last=True):
            sim = model(image, bag)
            same = torch.arange(len(sim))
            loss = (F.cross_entropy(sim, same) + F.cross_entropy(sim.mT, same)) / 2
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            run.append(loss.item())
        print(f"{epoch}: contrastive loss {sum(run) / len(run):.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
