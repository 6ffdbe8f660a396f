import hashlib
import torch
import torch.nn as nn

torch.manual_seed(73)
backbone = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
for p in backbone.parameters():
    p.requires_grad = False
classifier = nn.Linear(6, 2)
model = nn.Sequential(backbone, classifier)
optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1, momentum=0.9)


def run(steps):
    for step in range(steps):
        images = torch.rand(6, 3, 6, 6)
        target = (images[:, 0].mean((1, 2)) > images[:, 1].mean((1, 2))).long()
        loss = nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


print("head only", run(8))
for p in backbone[0].parameters():
    p.requires_grad_(True)
optimizer.add_param_group({"params": backbone[0].parameters(), "lr": 0.01})
backbone[1].eval()
print("unfrozen", run(8))
sha = hashlib.sha256()
for v in model.state_dict().values():
    sha.update(v.numpy().tobytes())
for s in optimizer.state.values():
    sha.update(s["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
