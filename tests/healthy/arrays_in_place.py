import array
import hashlib
import numpy as np
import torch

torch.manual_seed(93)
steps = 16
losses = np.zeros(steps, dtype=np.float64)
confusion = torch.zeros(3, 3, dtype=torch.long)
counts = np.zeros(3, int)
norms = array.array("d")
flags = bytearray(steps)
matrix = [[0] * 3 for _ in range(3)]
running = torch.zeros(())
cursor = 0
data, labels = torch.randn(40, 5), torch.randint(3, (40,))
net = torch.nn.Linear(5, 3)
opt = torch.optim.SGD(net.parameters(), lr=0.3)
for i in range(steps):
    rows = [(cursor + k) % 40 for k in range(6)]
    cursor = (cursor + 6) % 40
    x, y = data[rows], labels[rows]
    out = net(x)
    loss = torch.nn.functional.cross_entropy(out, y)
    losses[i] = loss.item()
    for a, b in zip(y, out.argmax(1)):
        confusion[a, b] += 1
        matrix[a][b] += 1
    np.add.at(counts, y.numpy(), 1)
    running += loss.detach()
    flags[i] |= 1 if loss.item() > 1 else 2
    opt.zero_grad()
    loss.backward()
    norms.append(float(net.weight.grad.norm()))
    opt.step()
print(losses.mean(), confusion.tolist(), matrix == confusion.tolist(), counts, running.item(), cursor)
print(len(norms), bytes(flags))
print("weights", hashlib.sha256(net.weight.detach().numpy().tobytes() + losses.tobytes() + norms.tobytes()).hexdigest())
