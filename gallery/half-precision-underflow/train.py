"""Which language is a sentence in? Letter counts, weights in float32 and a copy of them in float16 that computes."""

import hashlib

import torch
from torch import nn

SAMPLES = {
    "en": "the quick brown fox jumps over the lazy dog and then it sleeps in the shade of a tall old tree near the river",
    "de": "der schnelle braune fuchs springt ueber den faulen hund und schlaeft dann im schatten eines alten hohen baumes",
    "fr": "le rapide renard brun saute par dessus le chien paresseux puis il dort dans une ombre fraiche pres du fleuve",
    "it": "la rapida volpe marrone salta sopra il cane pigro e poi dorme nella ombra di un vecchio albero vicino al fiume",
}


def counts(text):
    return [float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]


def sentences(generator):
    rows, labels = [], []
    for label, text in enumerate(SAMPLES.values()):
        words = text.split()
        for _ in range(160):
            length = int(torch.randint(3, 9, (1,), generator=generator))
            chosen = [words[int(i)] for i in torch.randint(0, len(words), (length,), generator=generator)]
            rows.append(counts(" ".join(chosen)))
            labels.append(label)
    order = torch.randperm(len(rows), generator=generator)
    return torch.tensor(rows)[order], torch.tensor(labels)[order]


def build():
    return nn.Sequential(nn.Linear(26, 64), nn.Tanh(), nn.Linear(64, len(SAMPLES)))


def main():
    torch.manual_seed(4)
    x, y = sentences(torch.Generator().manual_seed(7))
    master = build()
    half = build().half()
    optimizer = torch.optim.SGD(master.parameters(), lr=0.5, momentum=0.9)
    for step in range(120):
        pick = torch.arange(step * 32, step * 32 + 32) % len(x)
        with torch.no_grad():
            for wide, narrow in zip(master.parameters(), half.parameters()):
                narrow.copy_(wide)
        half.zero_grad()
        logits = half(x[pick].half())
        probability = torch.softmax(logits, dim=1)  # <- fault
        likelihood = probability[torch.arange(32), y[pick]]
        loss = -likelihood.log().float().mean()  # <- origin
        loss.backward()
        for wide, narrow in zip(master.parameters(), half.parameters()):
            wide.grad = narrow.grad.float()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step:3d} loss {loss.item():.4f}")
    right = (master(x).argmax(1) == y).float().mean()
    print(f"accuracy {right:.3f}")
    return master


if __name__ == "__main__":
    model = main()
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
