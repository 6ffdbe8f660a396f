import hashlib

import torch
import torch.nn as nn

activations, gradients, counts = {}, {}, {"forward": 0, "pre": 0, "backward": 0, "grad": 0, "post": 0}


def keep(name):
    def hook(module, inputs, output):
        counts["forward"] += 1
        activations[name] = output.detach().abs().mean().item()
    return hook


def keep_gradient(module, grad_input, grad_output):
    counts["backward"] += 1
    gradients.setdefault(type(module).__name__, []).append(grad_output[0].norm().item())


def scale(grad):
    counts["grad"] += 1
    return grad * 0.5


def normalise(module, args):
    counts["pre"] += 1
    return (args[0] / args[0].std(),)


torch.manual_seed(89)
net = nn.Sequential(nn.Linear(4, 10), nn.Softsign(), nn.Linear(10, 2))
handles = [m.register_forward_hook(keep(str(i))) for i, m in enumerate(net)]
net.register_forward_pre_hook(normalise)
net[1].register_full_backward_hook(keep_gradient)
net[0].weight.register_hook(scale)
optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.5)
optimizer.register_step_post_hook(lambda *_: counts.__setitem__("post", counts["post"] + 1))
for i in range(15):
    x = torch.randn(6, 4)
    loss = nn.functional.cross_entropy(net(x), (x[:, 0] > x[:, 1]).long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if i == 9:
        handles.pop().remove()
    if i % 5 == 0:
        print(i, loss.item(), activations)
print(counts, {k: len(v) for k, v in gradients.items()}, sum(gradients["Softsign"]))
sha = hashlib.sha256()
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes() + optimizer.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
