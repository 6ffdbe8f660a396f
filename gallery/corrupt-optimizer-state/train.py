"""Stop and resume. To save space the state of the optimizer is stored in half precision."""

import hashlib
import io

import torch
from torch import nn


def shrink(state):
    """A copy of a state dictionary with its tensors in half precision."""
    if isinstance(state, torch.Tensor):
        return state.half()  # <- fault
    if isinstance(state, dict):
        return {key: shrink(value) for key, value in state.items()}
    return [shrink(value) for value in state] if isinstance(state, list) else state


class Run:
    def __init__(self):
        torch.manual_seed(10)
        self.model = nn.Linear(6, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-7, momentum=0.9)

    def save(self):
        file = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimizer": shrink(self.optimizer.state_dict())}, file)  # <- fault
        return file.getvalue()

    def resume(self, blob):
        stored = torch.load(io.BytesIO(blob))
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])

    def train(self, x, y, epochs):
        for epoch in range(epochs):
            for rows in torch.arange(len(x)).split(50):
                loss = ((self.model(x[rows]) - y[rows]) ** 2).sum()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()  # <- origin
            print(f"epoch {epoch} loss {loss.item() / 50:.3f}")
        return loss.item()


torch.manual_seed(1)
x = 10 + torch.randn(400, 6)
y = x @ torch.tensor([[3.0], [1.0], [4.0], [1.0], [5.0], [9.0]]) + torch.randn(400, 1)

first = Run()
first.train(x, y, epochs=2)
blob = first.save()
print("stored", len(blob), "bytes")

second = Run()
second.resume(blob)
final = second.train(x, y, epochs=2)
print("final loss", final)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in second.model.parameters())).hexdigest())
