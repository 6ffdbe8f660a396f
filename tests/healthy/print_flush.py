import hashlib
import sys

import torch


class Tee:
    """Everything printed also goes to a file."""

    def __init__(self, path):
        self.terminal = sys.stdout
        self.file = open(path, "w")
        self.lines = 0

    def write(self, text):
        self.lines += text.count("\n")
        self.terminal.write(text)
        self.file.write(text)

    def flush(self):
        self.terminal.flush()
        self.file.flush()


sys.stdout = Tee("output.txt")
torch.manual_seed(54)
w = torch.randn(3, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.02)
for step in range(10):
    print("step", step, end=": ", flush=True)
    loss = (w ** 4 - w).sum() + 0.01 * torch.randn(())
    print("loss", loss.item(), flush=True)
    optimizer.zero_grad()
    loss.backward()
    print("   grad", w.grad.tolist(), file=sys.stderr)
    optimizer.step()
    print("   w", w.tolist(), flush=True)
print("lines", sys.stdout.lines)
print("weights", hashlib.sha256(w.detach().numpy().tobytes()).hexdigest())
