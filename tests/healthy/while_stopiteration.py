import hashlib

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def run(max_steps=20):
    torch.manual_seed(6)
    loader = DataLoader(TensorDataset(torch.randn(24, 3), torch.randn(24, 2)), batch_size=4, shuffle=True)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    data_iter = iter(loader)
    epoch, step, losses = 0, 0, []
    while True:
        try:
            batch = next(data_iter)
        except StopIteration:
            epoch += 1
            data_iter = iter(loader)
            batch = next(data_iter)
            print("epoch", epoch, "begins at step", step)
        inputs, targets = batch
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step >= max_steps:
            break
    return model, losses, epoch


model, losses, epochs = run()
print(epochs, losses[-4:])
sha = hashlib.sha256()
for value in model.state_dict().values():
    sha.update(memoryview(value.numpy()).tobytes())
print("weights", sha.hexdigest())
