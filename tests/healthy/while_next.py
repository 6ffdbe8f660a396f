import hashlib

import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
ds = TensorDataset(torch.randn(200, 4), torch.randint(0, 2, (200,)).float())
it = iter(DataLoader(ds, batch_size=10, shuffle=True))
lin = torch.nn.Linear(4, 1)
opt = torch.optim.Adagrad(lin.parameters(), lr=0.1)
bce = torch.nn.BCEWithLogitsLoss()

step = 0
while step < 18:
    x, y = next(it)
    logit = lin(x).view(-1)
    loss = bce(logit, y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    step += 1
    if step % 6 == 0:
        print("step %d loss %r" % (step, loss.item()))

sha = hashlib.sha256(lin.weight.detach().numpy().tobytes() + lin.bias.detach().numpy().tobytes())
for p in opt.state:
    sha.update(opt.state[p]["sum"].numpy().tobytes())
print("rest of the epoch:", sum(1 for _ in it))
print("loss", float(loss))
print("weights", sha.hexdigest())
