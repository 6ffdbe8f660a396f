"""Which community does a node belong to? A graph convolutional network, regularised by dropping edges."""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn


class GraphConvolution(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, nodes, edges):
        adjacency = torch.zeros(len(nodes), len(nodes))
        adjacency[edges[0], edges[1]] = 1.0
        scale = adjacency.sum(dim=1).pow(-0.5)  # <- origin
        return (scale[:, None] * adjacency * scale) @ self.linear(nodes) + self.bias


class CommunityNet(nn.Module):
    def __init__(self, features, communities):
        super().__init__()
        self.convolve = nn.ModuleList([GraphConvolution(features, 16), GraphConvolution(16, communities)])

    def forward(self, nodes, edges):
        hidden = torch.relu(self.convolve[0](nodes, edges))
        return self.convolve[1](hidden, edges)


def drop_edges(edges, share):
    """Both directions of an edge stay or go together."""
    half = edges.shape[1] // 2
    keep = torch.rand(half) >= share
    return edges[:, torch.cat([keep, keep])]


def communities(nodes=120, groups=4):
    label = torch.arange(nodes) % groups
    chance = torch.where(label[:, None] == label[None, :], 0.5, 0.06)
    upper = torch.triu(torch.rand(nodes, nodes) < chance, diagonal=1)
    one_way = upper.nonzero().t()
    features = F.one_hot(label, groups).float() @ torch.randn(groups, 12) + 2 * torch.randn(nodes, 12)
    return features, torch.cat([one_way, one_way.flip(0)], dim=1), label


torch.manual_seed(12)
features, edges, label = communities()
model = CommunityNet(features.shape[1], 4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
for epoch in range(120):
    share = min(0.9, 0.01 * epoch)
    scores = model(features, drop_edges(edges, share))
    loss = F.cross_entropy(scores[:80], label[:80])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch % 20 == 0:
        print(f"epoch {epoch}: {edges.shape[1]} edges, {share:.0%} dropped, loss {loss.item():.4f}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
