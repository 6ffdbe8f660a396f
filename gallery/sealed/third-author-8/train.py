# Graph attention for communities in a citation-like graph
import hashlib

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(17)
torch.use_deterministic_algorithms(True)

NODES, GROUPS, WORDS = 150, 3, 40


def citation_graph():
    group = torch.arange(NODES) % GROUPS
    same = group[:, None] == group[None, :]
    edges = torch.rand(NODES, NODES) < torch.where(same, 0.10, 0.012)
    adjacency = edges | edges.T | torch.eye(NODES, dtype=torch.bool)
    topic = torch.rand(GROUPS, WORDS)
    words = torch.poisson(0.8 * topic[group] + 0.3)
    return adjacency, torch.log1p(words), group


class AttentionLayer(nn.Module):
    def __init__(self, inputs, outputs, heads):
        super().__init__()
        self.heads, self.outputs = heads, outputs
        self.weight = nn.Parameter(torch.empty(inputs, heads * outputs))
        self.toward = nn.Parameter(torch.empty(heads, outputs))
        self.away = nn.Parameter(torch.empty(heads, outputs))  # <- origin  # <- fault
        self.bias = nn.Parameter(torch.empty(heads * outputs))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.xavier_uniform_(self.weight)
        nn.init.xavier_uniform_(self.toward)  # <- fault
        nn.init.zeros_(self.bias)

    def forward(self, x, adjacency):
        h = (x @ self.weight).view(len(x), self.heads, self.outputs)
        score = torch.einsum("nhd,hd->hn", h, self.toward)[:, :, None] \
            + torch.einsum("nhd,hd->hn", h, self.away)[:, None, :]
        score = F.leaky_relu(score, 0.2).masked_fill(~adjacency, -1e9)
        mixed = torch.einsum("hnm,mhd->nhd", score.softmax(-1), h)
        return mixed.flatten(1) + self.bias


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = AttentionLayer(WORDS, 8, heads=4)
        self.second = AttentionLayer(32, GROUPS, heads=1)

    def forward(self, x, adjacency):
        return self.second(F.elu(self.first(x, adjacency)), adjacency)


adjacency, words, group = citation_graph()
labelled = torch.randperm(NODES)[:45]
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(80):
    optimizer.zero_grad()
    scores = net(words, adjacency)
    loss = F.cross_entropy(scores[labelled], group[labelled])
    loss.backward()
    optimizer.step()
    if epoch % 10 == 0:
        correct = (scores.argmax(1) == group).float().mean()
        print("epoch", epoch, "loss", round(loss.item(), 4), "accuracy", round(correct.item(), 3))
print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(torch.cat([p.detach().flatten() for p in net.parameters()]).numpy().tobytes()).hexdigest())
