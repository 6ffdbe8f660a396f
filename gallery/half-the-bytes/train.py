"""A classifier of news by topic, fine-tuned with weights of sixteen bits to save memory."""

import hashlib

import torch
import torch.nn as nn

VOCABULARY, TOPICS = 400, 4


class Topics(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(VOCABULARY, 48, mode="mean")
        self.norm = nn.LayerNorm(48)
        self.head = nn.Sequential(nn.Linear(48, 48), nn.GELU(), nn.Linear(48, TOPICS))

    def forward(self, tokens):
        return self.head(self.norm(self.words(tokens)))


def articles(count, generator):
    topic = torch.randint(TOPICS, (count,), generator=generator)
    typical = torch.randint(100, (count, 30), generator=generator) + 100 * topic[:, None]
    noise = torch.randint(VOCABULARY, (count, 30), generator=generator)
    return torch.where(torch.rand(count, 30, generator=generator) < 0.35, typical, noise), topic


class Trainer:
    def __init__(self, model, rate):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=rate)  # <- fault
        self.losses = []

    def training_step(self, batch):
        tokens, topic = batch
        logits = self.model(tokens)
        return nn.functional.cross_entropy(logits.float(), topic)

    def fit(self, batches):
        for batch in batches:
            loss = self.training_step(batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            if len(self.losses) % 50 == 0:
                print(f"{len(self.losses):4d} {sum(self.losses[-50:]) / 50:.4f}")


torch.manual_seed(1)
generator = torch.Generator().manual_seed(1)
model = Topics().to(torch.bfloat16)
Trainer(model, rate=1e-3).fit(articles(32, generator) for _ in range(300))
print("weights", hashlib.sha256(b"".join(p.detach().float().numpy().tobytes() for p in model.parameters())).hexdigest())
