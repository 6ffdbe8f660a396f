import hashlib
from functools import partial

import torch
from sklearn.datasets import load_wine


def cool(progress, warm, cold):
    """Temperature of the look-up, falling geometrically."""
    return warm * (cold / warm) ** progress


def look_up(query, keys, values, temperature):
    """Soft nearest neighbours: a mean of the values, weighted by how alike the keys are."""
    alike = query @ keys.T / temperature
    weight = alike.softmax(dim=1)
    return weight @ values


def encoder():
    return torch.nn.Sequential(torch.nn.Linear(13, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8))


def embed(net, x):
    h = net(x)
    return h / (h.square().sum(1, keepdim=True) + 1e-6).sqrt()


def average(slow, fast, keep=0.95):
    with torch.no_grad():
        for s, f in zip(slow.parameters(), fast.parameters()):
            s.lerp_(f, 1 - keep)


def main(updates=320, seed=2):
    torch.manual_seed(seed)
    wine = load_wine()
    x = torch.tensor(wine.data, dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    y = torch.tensor(wine.target)
    order = torch.randperm(len(x))
    memory, rest = order[:80], order[80:]
    one_hot = torch.nn.functional.one_hot(y, 3).float()

    net, slow = encoder(), encoder()
    slow.load_state_dict(net.state_dict())
    temperature = partial(cool, warm=1.0, cold=0.008)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-3)
    for update in range(updates):
        batch = rest[torch.randint(len(rest), (32,))]
        keys = embed(slow, x[memory]).detach()
        p = look_up(embed(net, x[batch]), keys, one_hot[memory], temperature(update / updates))
        loss = -(0.98 * p + 0.02 / 3).gather(1, y[batch, None]).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average(slow, net)
        if update % 32 == 0:
            print(f"update {update:3d}  loss {loss.item():.4f}")
    print(f"final loss {loss.item():.4f}")
    flat = torch.cat([p.detach().flatten() for p in net.parameters()])
    print("weights", hashlib.sha256(flat.numpy().tobytes()).hexdigest())


main()
