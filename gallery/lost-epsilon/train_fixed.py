"""Which of two topics is a sentence about? Word vectors in bfloat16, because there are many words."""

import hashlib

import torch
from torch import nn

torch.manual_seed(0)
WORDS = 500


class TopicModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(WORDS, 16)
        self.topic = nn.Linear(16, 2)

    def forward(self, sentence):
        return self.topic(self.vectors(sentence).mean(dim=1))


def sentences(count):
    topic = torch.randint(2, (count,))
    words = torch.randint(WORDS // 2, (count, 8)) * 2 + topic[:, None] * (torch.rand(count, 8) < 0.6)
    return words, topic


model = TopicModel().bfloat16()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(40):
    words, topic = sentences(64)
    loss = nn.functional.cross_entropy(model(words).float(), topic)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step} loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().float().numpy().tobytes() for p in model.parameters())).hexdigest())
