"""Reads its samples from an open text file, line by line, inside the loop; and seeks in a binary one."""
import hashlib
import os
import struct
import torch

torch.manual_seed(94)
with open("samples.txt", "w") as f:
    for row in torch.randn(60, 4).tolist():
        f.write(" ".join(map(repr, row)) + "\n")
with open("table.bin", "wb") as f:
    for k in range(100):
        f.write(struct.pack("<2f", k / 100, (k / 100) ** 2))

text = open("samples.txt")
table = open("table.bin", "rb")
net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(18):
    rows = []
    while len(rows) < 4:
        line = text.readline()
        if not line:
            text.seek(0)
            continue
        rows.append([float(v) for v in line.split()])
    x = torch.tensor(rows)
    table.seek(8 * int(torch.randint(100, ())))
    offset, square = struct.unpack("<2f", table.read(8))
    loss = (net(x).squeeze(1) - x.sum(1) - offset).pow(2).mean() + square
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 6 == 0:
        print(step, loss.item(), text.tell(), table.tell())
print(text.tell(), os.path.getsize("samples.txt"))
text.close()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
