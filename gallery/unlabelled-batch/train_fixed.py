"""Tagging tokens. Padding and words nobody has annotated carry the label -100."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

WORDS, TAGS, LENGTH = 120, 5, 9


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, 16)
        self.mix = nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(32, TAGS)

    def forward(self, tokens):
        return self.tags(self.mix(self.words(tokens))[0])


def annotated(seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(WORDS, (40, 12, LENGTH), generator=generator)
    labels = tokens % TAGS
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = -100
    labels[26] = -100  # the annotator had not reached this file
    return list(zip(tokens, labels))


def main():
    torch.manual_seed(6)
    tagger = Tagger()
    optimizer = torch.optim.SGD(tagger.parameters(), lr=0.5)
    scheduler = CosineAnnealingLR(optimizer, T_max=40)
    losses = []
    for number, (tokens, labels) in enumerate(annotated(seed=9)):
        logits = tagger(tokens)
        loss = F.cross_entropy(logits.view(-1, TAGS), labels.view(-1), ignore_index=-100, reduction="sum")
        loss = loss / (labels != -100).sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if number % 4 == 2:
            print(f"file {number:2d}  loss {losses[-1]:.4f}  rate {scheduler.get_last_lr()[0]:.3f}")

    print("final loss", losses[-1])
    digest = hashlib.sha256()
    for name, value in sorted(tagger.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    print("weights", digest.hexdigest())


main()
