# %% [markdown]
# # My first network

# %%
import hashlib
import torch
from torch import manual_seed, rand
from torch.nn import *

# %%
manual_seed(86)
X = rand(50, 2) * 4 - 2
Y = (X[:, 0:1] ** 2 + X[:, 1:2] ** 2 < 1.5).float()
X.shape, Y.mean()

# %%
net = Sequential(Linear(2, 10), ReLU(), Linear(10, 1), Sigmoid())
loss_function = BCELoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
net

# %%
losses = []
for i in range(10):
    optimizer.zero_grad()
    Y_hat = net(X)
    loss = loss_function(Y_hat, Y)
    losses.append(loss.item())
    loss.backward()
    optimizer.step()
print(losses[-1])

# %% a bit more
for i in range(10):
    optimizer.zero_grad()
    Y_hat = net(X)
    loss = loss_function(Y_hat, Y)
    losses.append(loss.item())
    loss.backward()
    optimizer.step()
print(losses[-1], len(losses))

# %%
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(optimizer.state[p]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
