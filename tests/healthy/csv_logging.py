import csv
import hashlib
import json

import torch

torch.manual_seed(51)
net = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.CELU(), torch.nn.Linear(9, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)

with open("training_log.csv", "w", newline="") as handle, open("events.jsonl", "w") as events:
    writer = csv.DictWriter(handle, fieldnames=["step", "loss", "grad", "weight"])
    writer.writeheader()
    for step in range(15):
        x = torch.randn(8, 3)
        loss = (net(x) - x.amax(1, keepdim=True)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        grad = sum(p.grad.norm().item() for p in net.parameters())
        print(json.dumps({"before": step, "loss": loss.item()}), file=events)
        opt.step()
        writer.writerow({"step": step, "loss": loss.item(), "grad": grad, "weight": net[0].weight.sum().item()})
        handle.flush()

with open("training_log.csv") as handle:
    rows = list(csv.DictReader(handle))
print(len(rows), rows[-1])
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(opt.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
