"""Attention over a citation-like graph, with randomly dropped edges; predictions come from an averaged copy."""
import hashlib

import torch
from torch import nn


class AttentionLayer(nn.Module):
    def __init__(self, inputs, outputs, heads):
        super().__init__()
        self.heads = heads
        self.value = nn.Linear(inputs, outputs * heads, bias=False)
        self.target = nn.Parameter(torch.randn(heads, outputs) * 0.1)
        self.source = nn.Parameter(torch.randn(heads, outputs) * 0.1)

    def forward(self, h, adjacency):
        v = self.value(h).view(len(h), self.heads, -1)
        score = (v * self.target).sum(-1)[:, None] + (v * self.source).sum(-1)[None]
        score = nn.functional.leaky_relu(score, 0.2)
        score = score.masked_fill(~adjacency[:, :, None], float("-inf"))
        attention = score.softmax(dim=1)  # <- origin
        return torch.einsum("ijh,jhd->ihd", attention, v).flatten(1)


class GraphNet(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.first = AttentionLayer(inputs, 12, heads=3)
        self.second = AttentionLayer(36, classes, heads=1)

    def forward(self, h, adjacency):
        return self.second(nn.functional.elu(self.first(h, adjacency)), adjacency)


class Average:
    def __init__(self, model, decay=0.98):
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model):
        for k, v in model.state_dict().items():
            self.shadow[k].lerp_(v, 1 - self.decay)


def make_graph(nodes=150, classes=4):
    label = torch.randint(classes, (nodes,))
    chance = torch.where(label[:, None] == label[None], 0.20, 0.02)
    upper = torch.triu(torch.rand(nodes, nodes) < chance, 1)
    words = (torch.rand(nodes, 60) < 0.08 + 0.10 * (torch.arange(60) % classes == label[:, None])).float()
    return words, upper | upper.T | torch.eye(nodes, dtype=torch.bool), label


def drop_edges(adjacency, rate):
    keep = torch.triu(torch.rand(adjacency.shape) >= rate)
    keep = keep | keep.T  # <- fault
    return adjacency & keep


torch.manual_seed(9)
words, adjacency, label = make_graph()
known = torch.rand(len(label)) < 0.4
model = GraphNet(words.shape[1], 4)
average = Average(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)

for epoch in range(120):
    scores = model(words, drop_edges(adjacency, rate=0.5))
    loss = nn.functional.cross_entropy(scores[known], label[known])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    average.update(model)
    if epoch % 10 == 0:
        print(f"epoch {epoch:3d} loss {loss.item():.4f}")

model.load_state_dict(average.shadow)
with torch.no_grad():
    right = (model(words, adjacency).argmax(1) == label)[~known].float().mean()
print(f"accuracy on the unknown nodes {right.item():.3f}")
print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
