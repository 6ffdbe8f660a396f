"""How far does diabetes progress in a year? A regression that accumulates gradients over micro-batches."""

import hashlib
from functools import partial

import torch
from sklearn.datasets import load_diabetes
from torch.nn.functional import gelu, huber_loss, linear

LOSS_SCALE = 1024.0
MICRO = 4


def load():
    data = load_diabetes()
    x = torch.tensor(data.data, dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0), ((y - y.mean()) / y.std()).unsqueeze(1)


def initial(sizes, generator):
    weights = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        weights.append(torch.randn(fan_out, fan_in, generator=generator) / fan_in**0.5)
        weights.append(torch.zeros(fan_out))
    return [w.requires_grad_() for w in weights]


def predict(weights, x):
    w1, b1, w2, b2, w3, b3 = weights
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = gelu(linear(x, w1, b1))
        h = h + gelu(linear(h, w2, b2))
    return linear(h.float(), w3, b3)  # <- origin


def micro_batch(weights, x, y):
    loss = huber_loss(predict(weights, x), y, delta=2.0)
    (loss * LOSS_SCALE / MICRO).backward()  # <- fault
    return loss.item()


def update(optimizer, weights):
    optimizer.step()
    optimizer.zero_grad()


def main():
    x, y = load()
    generator = torch.Generator().manual_seed(5)
    weights = initial([10, 48, 48, 1], generator)
    optimizer = torch.optim.SGD(weights, lr=0.02)
    finish = partial(update, optimizer, weights)
    for epoch in range(4):
        order = torch.randperm(len(x), generator=generator)
        losses = []
        for number, rows in enumerate(order.split(16), 1):
            losses.append(micro_batch(weights, x[rows], y[rows]))
            if number % MICRO == 0:
                finish()
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f}")
    return weights


if __name__ == "__main__":
    result = main()
    print("weights", hashlib.sha256(b"".join(w.detach().numpy().tobytes() for w in result)).hexdigest())
