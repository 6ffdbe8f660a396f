"""Take over the weights of a small scikit-learn network (exported to a flat file by another team's
tool) and go on training them in torch, with augmentation the old tool did not have."""
import hashlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from export import write_weights

LAYERS = [(64, 48), (48, 32), (32, 10)]


def read_state(path):
    flat = np.fromfile(path, dtype=">f4", offset=16)
    state, at = {}, 0
    for i, (n_in, n_out) in enumerate(LAYERS):
        weight = flat[at:at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        bias = flat[at:at + n_out]
        at += n_out
        state[f"{2 * i}.weight"] = torch.tensor(weight.T.astype(np.float32))
        state[f"{2 * i}.bias"] = torch.tensor(bias.astype(np.float32))
    assert at == len(flat), "file does not fit the layers"
    return state


def jitter(images, generator):
    dx = int(torch.randint(-1, 2, (1,), generator=generator))
    dy = int(torch.randint(-1, 2, (1,), generator=generator))
    shifted = torch.roll(images.view(-1, 8, 8), (dy, dx), (1, 2)).reshape(-1, 64)
    return shifted + 0.05 * torch.randn(shifted.shape, generator=generator)


def main():
    digits = load_digits()
    x = (digits.data / 16.0).astype(np.float32)
    old = MLPClassifier((48, 32), max_iter=25, random_state=0, early_stopping=False)
    old.fit(x[:1200], digits.target[:1200])
    print(f"old network: loss {old.loss_:.4f}, accuracy {old.score(x[1200:], digits.target[1200:]):.3f}")

    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "digits.weights"
    write_weights(path, old)

    net = torch.nn.Sequential(
        torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )
    net.load_state_dict(read_state(path))

    g = torch.Generator().manual_seed(3)
    xs, ys = torch.from_numpy(x[:1200]), torch.from_numpy(digits.target[:1200])
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(25):
        losses = []
        for rows in torch.randperm(len(xs), generator=g).split(60):
            loss = torch.nn.functional.cross_entropy(net(jitter(xs[rows], g)), ys[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            losses.append(loss.item())
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d}  loss {np.mean(losses):.4f}")
    print(f"final loss {np.mean(losses):.4f}")
    print("weights", hashlib.sha256(b"".join(v.detach().numpy().tobytes() for v in net.parameters())).hexdigest())
    folder.cleanup()


if __name__ == "__main__":
    main()
