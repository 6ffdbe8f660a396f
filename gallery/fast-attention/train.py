"""A sorting task for a single attention block; attention is compiled with a backend that merges operations."""

import hashlib

import torch
from torch import nn


def merged_softmax(graph_module, example_inputs):
    """Softmax as one exponential and one division: two passes over the scores less."""
    graph = graph_module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in (torch.softmax, nn.functional.softmax):
            with graph.inserting_before(node):
                power = graph.call_function(torch.exp, (node.args[0],))
                total = graph.call_method("sum", (power,), {"dim": -1, "keepdim": True})
                share = graph.call_function(torch.div, (power, total))
            node.replace_all_uses_with(share)
            graph.erase_node(node)
    graph_module.recompile()
    return graph_module.forward


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return self.value(x) + torch.softmax(scores, dim=-1) @ x


class Ranker(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embed = nn.Linear(2, width)
        self.attend = Attention(width)
        self.rank = nn.Linear(width, 1)

    def forward(self, items):
        return self.rank(self.attend(torch.relu(self.embed(items)))).squeeze(-1)


def batches(count, size, generator):
    for number in range(count):
        items = torch.rand(size, 8, 2, generator=generator)
        if number == 17:
            items[3, 0] = torch.tensor([400.0, 250.0])  # an outlier, as they come
        yield items, items.sum(-1).argsort(dim=1).argsort(dim=1).float() / 7


if __name__ == "__main__":
    torch.manual_seed(1)
    model = Ranker()
    model.attend = torch.compile(model.attend, backend=merged_softmax)  # <- fault
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for number, (items, ranks) in enumerate(batches(30, 24, torch.Generator().manual_seed(8))):
        loss = nn.functional.smooth_l1_loss(model(items), ranks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 10 == 0:
            print(f"batch {number} loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
