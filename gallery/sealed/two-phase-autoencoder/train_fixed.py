import hashlib
import torch
from sklearn.datasets import load_digits
from torch.nn import Conv2d, ConvTranspose2d, Flatten, Linear, ReLU, Sequential, Unflatten
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {
    "seed": 7,
    "batch": 64,
    "warm": {"optimizer": torch.optim.Adam, "epochs": 3, "options": {"lr": 1e-3}},
    "polish": {"optimizer": torch.optim.SGD, "epochs": 8,
               "options": {"lr": 0.03, "momentum": 0.9, "nesterov": True}},
}

torch.manual_seed(CONFIG["seed"])
images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8 - 1
loader = DataLoader(TensorDataset(images), batch_size=CONFIG["batch"], shuffle=True, drop_last=True)

net = Sequential(
    Conv2d(1, 8, 3, stride=2, padding=1), ReLU(), Flatten(), Linear(128, 12),
    Linear(12, 128), ReLU(), Unflatten(1, (8, 4, 4)), ConvTranspose2d(8, 1, 4, stride=2, padding=1))


def run(name):
    phase = CONFIG[name]
    optimizer = phase["optimizer"](net.parameters(), **phase["options"])
    for epoch in range(phase["epochs"]):
        losses = []
        for (x,) in loader:
            loss = (net(x) - x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"{name:6s} epoch {epoch}  " + " ".join(f"{v:.3g}" for v in losses[::9]))
    return sum(losses) / len(losses)


run("warm")
print(f"final loss {run('polish'):.5f}")
print("weights", hashlib.sha256(b"".join(w.detach().numpy().tobytes() for w in net.parameters())).hexdigest())
