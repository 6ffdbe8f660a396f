"""Rain in the next hour at twelve gauges. Days are small batches, four of them make an update."""

import torch

from rain import RainNet, accumulate, days, finish

torch.manual_seed(2)
model = RainNet(gauges=12)
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
for number, (before, after) in enumerate(days(64, gauges=12, seed=8)):
    loss = accumulate(model, before, after, share=1 / 4)
    if (number + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
    if number % 16 == 15:
        print(f"day {number}: error {loss.item():.4f}")

finish(model, loss)
