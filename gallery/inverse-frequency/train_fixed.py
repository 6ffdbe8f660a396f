"""Short texts, weighted by inverse document frequencies over a fixed vocabulary."""
import hashlib
import random

import torch
from torch import nn

VOCABULARY = ["number", "string", "list", "file", "return", "value", "object", "error"]


def documents():
    rng = random.Random(5)
    for i in range(200):
        common = VOCABULARY[i % 4 : i % 4 + 3]
        yield " ".join(rng.choice(common + VOCABULARY[:7]) for _ in range(12)), i % 4


class TfIdf:
    def fit(self, texts):
        appears = torch.tensor([[float(word in text) for word in VOCABULARY] for text in texts])
        document_frequency = appears.sum(0)
        self.idf = len(texts) / document_frequency.clamp(min=1)
        return self

    def transform(self, texts):
        counts = torch.tensor([[float(text.count(word)) for word in VOCABULARY] for text in texts])
        return counts * torch.log(self.idf)


torch.manual_seed(0)
texts, labels = zip(*documents())
x, y = TfIdf().fit(texts).transform(texts), torch.tensor(labels)
model = nn.Linear(len(VOCABULARY), 4)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(3):
    for rows in torch.randperm(len(x)).split(16):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
