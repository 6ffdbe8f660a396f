import hashlib
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Graph(NamedTuple):
    src: Tensor
    dst: Tensor
    features: Tensor
    community: Tensor
    known: Tensor


def make_graph(n=400, k=4, inside=0.11, across=0.008, seed=0) -> Graph:
    g = torch.Generator().manual_seed(seed)
    community = torch.randint(k, (n,), generator=g)
    same = community[:, None] == community[None, :]
    p = torch.where(same, inside, across)
    upper = torch.triu(torch.rand(n, n, generator=g) < p, diagonal=1)
    a, b = upper.nonzero(as_tuple=True)
    degree = torch.bincount(torch.cat([a, b]), minlength=n)
    keep = degree >= 5                       # small components are of no interest here
    index = torch.cumsum(keep, 0) - 1
    edge = keep[a] & keep[b]
    a, b = index[a[edge]], index[b[edge]]
    community = community[keep]
    features = F.one_hot(community, k).float() + 1.5 * torch.randn(len(community), k, generator=g)
    features = torch.cat([features, torch.randn(len(community), 12, generator=g)], 1)
    known = torch.rand(len(community), generator=g) < 0.3
    return Graph(a, b, features, community, known)


class GraphConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.near = nn.Linear(inputs, outputs, bias=False)

    def forward(self, h, src, dst, scale):
        message = self.near(h) * scale[:, None]
        gathered = torch.zeros_like(message).index_add(0, dst, message[src])
        return self.own(h) + gathered * scale[:, None]


class Net(nn.Module):
    def __init__(self, inputs, hidden, outputs, drop):
        super().__init__()
        self.drop = drop
        self.first = GraphConv(inputs, hidden)
        self.second = GraphConv(hidden, outputs)

    def edges(self, graph):
        src, dst = graph.src, graph.dst
        if self.training:
            kept = torch.rand(len(src)) >= self.drop
            src, dst = src[kept], dst[kept]
        src, dst = torch.cat([src, dst]), torch.cat([dst, src])
        n = len(graph.features)
        scale = torch.bincount(dst, minlength=n).float().pow(-0.5)  # <- origin  # <- fault
        return src, dst, scale

    def forward(self, graph):
        src, dst, scale = self.edges(graph)
        h = F.elu(self.first(graph.features, src, dst, scale))
        return self.second(h, src, dst, scale)


def main():
    torch.manual_seed(1)
    graph = make_graph()
    net = Net(16, 32, 4, drop=0.3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)
    for step in range(150):
        net.train()
        scores = net(graph)
        loss = F.cross_entropy(scores[graph.known], graph.community[graph.known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            net.eval()
            with torch.no_grad():
                right = net(graph).argmax(1) == graph.community
            print(f"{step:4d}  loss {loss.item():.4f}  others right {right[~graph.known].float().mean().item():.3f}")
    print(f"final loss {loss.item():.4f}")
    state = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    print("weights", hashlib.sha256(state).hexdigest())


if __name__ == "__main__":
    main()
