import argparse
import hashlib

import torch
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--n-critic", type=int, default=3)
parser.add_argument("--clip-value", type=float, default=0.05)
parser.add_argument("--lr", type=float, default=5e-3)
opt = parser.parse_args()

torch.manual_seed(13)
generator = torch.nn.Sequential(torch.nn.Linear(3, 12), torch.nn.ReLU(), torch.nn.Linear(12, 2))
critic = torch.nn.Sequential(torch.nn.Linear(2, 12), torch.nn.ReLU(), torch.nn.Linear(12, 1))
optimizer_G = torch.optim.RMSprop(generator.parameters(), lr=opt.lr)
optimizer_C = torch.optim.RMSprop(critic.parameters(), lr=opt.lr)
loader = DataLoader(TensorDataset(torch.rand(90, 2)), batch_size=10, shuffle=True)

batches_done = 0
for epoch in range(2):
    for i, (real,) in enumerate(loader):
        optimizer_C.zero_grad()
        z = torch.randn(real.shape[0], 3)
        fake = generator(z).detach()
        loss_C = -torch.mean(critic(real)) + torch.mean(critic(fake))
        loss_C.backward()
        optimizer_C.step()
        for p in critic.parameters():
            p.data.clamp_(-opt.clip_value, opt.clip_value)

        # the generator learns once for every n_critic batches
        if i % opt.n_critic == 0:
            optimizer_G.zero_grad()
            loss_G = -torch.mean(critic(generator(torch.randn(real.shape[0], 3))))
            loss_G.backward()
            optimizer_G.step()
            print(f"epoch {epoch} batch {batches_done} C {loss_C.item():.8f} G {loss_G.item():.8f}")
        batches_done += 1

m = hashlib.sha256()
for module, optimizer in [(generator, optimizer_G), (critic, optimizer_C)]:
    for p in module.parameters():
        m.update(p.detach().numpy().tobytes())
        m.update(optimizer.state[p]["square_avg"].numpy().tobytes())
print("weights", m.hexdigest())
