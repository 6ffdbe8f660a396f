"""Click-through prediction from event counts, which are compressed with log(1 + n)."""

import hashlib
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Config:
    rows: int = 1500
    counters: int = 6
    batch_size: int = 32
    epochs: int = 2
    lr: float = 2e-3
    seed: int = 17


class Clicks(Dataset):
    def __init__(self, config):
        generator = torch.Generator().manual_seed(config.seed)
        self.counts = torch.poisson(torch.full((config.rows, config.counters), 4.0), generator=generator)
        self.counts[1100, 3] = -1  # the log server was down
        chance = torch.sigmoid(self.counts[:, :3].sum(1) - self.counts[:, 3:].sum(1))
        self.clicked = torch.bernoulli(chance, generator=generator)

    def __len__(self):
        return len(self.clicked)

    def __getitem__(self, row):
        return {"counters": torch.log1p(self.counts[row]), "clicked": self.clicked[row]}  # <- fault


class ClickModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.first = nn.Linear(config.counters, 32)
        self.norm = nn.LayerNorm(32)
        self.last = nn.Linear(32, 1)

    def forward(self, counters):
        hidden = self.first(counters)  # <- origin
        return self.last(torch.relu(self.norm(hidden))).squeeze(-1)


class Trainer:
    def __init__(self, config):
        torch.manual_seed(config.seed)
        self.config = config
        self.model = ClickModel(config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr)
        self.loader = DataLoader(
            Clicks(config),
            batch_size=config.batch_size,
            shuffle=True,
            drop_last=True,
            generator=torch.Generator().manual_seed(config.seed),
        )
        self.last_loss = None

    def training_step(self, batch):
        logits = self.model(batch["counters"])
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["clicked"])

    def run_epoch(self, epoch):
        seen, total = 0, 0.0
        for batch in self.loader:
            loss = self.training_step(batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.last_loss = loss.item()
            total, seen = total + self.last_loss, seen + 1
        print(f"epoch {epoch}: mean loss {total / seen:.4f} over {seen} batches")

    def run(self):
        for epoch in range(self.config.epochs):
            self.run_epoch(epoch)


if __name__ == "__main__":
    trainer = Trainer(Config())
    trainer.run()
    print("final loss", trainer.last_loss)
    weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
    print("weights", hashlib.sha256(weights).hexdigest())
