import torch

import steps
from steps import train_step

torch.manual_seed(3)

net = steps.build()
sgd = torch.optim.SGD(net.parameters(), lr=0.1, nesterov=True, momentum=0.8)

for k, (a, b) in enumerate(steps.batches(15)):
    value = train_step(net, sgd, a, b)
    print("step", k, "loss", value)

print("calls", steps.calls)
print("weights", steps.fingerprint(net, sgd))
