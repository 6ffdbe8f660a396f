import hashlib

import numpy as np
import torch
import torch.nn.functional as F

from fm import FactorizationMachine

config = {
    "articles": 400,
    "rank": 12,
    "batch": 64,
    "steps": 160,
    "lr": 5e-3,
    "precision": torch.bfloat16,
}


def baskets(config, seed=5):
    rng = np.random.default_rng(seed)
    popularity = rng.gamma(0.5, size=config["articles"])
    popularity /= popularity.sum()
    taste = rng.normal(size=config["articles"])
    while True:
        size = np.minimum(rng.lognormal(2.6, 1.2, size=config["batch"]), 2500).astype(int) + 1
        counts = np.stack([rng.multinomial(n, popularity) for n in size]).astype(np.float32)
        z = (np.log1p(counts) @ taste) * 0.6 + 0.4 * rng.normal(size=len(size))
        yield torch.from_numpy(counts), torch.from_numpy((z > 0).astype(np.float32))


torch.manual_seed(1)
model = FactorizationMachine(config["articles"], config["rank"])
optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
source = baskets(config)
recent = []
for step in range(config["steps"]):
    counts, returned = next(source)
    with torch.autocast("cpu", dtype=config["precision"]):
        score = model(counts)
    loss = F.binary_cross_entropy_with_logits(score.float(), returned)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    recent = (recent + [loss.item()])[-20:]
    if step % 25 == 0:
        print("step", step, "loss", loss.item())

print("final loss %.4f" % (sum(recent) / len(recent)))
h = hashlib.sha256()
for name, tensor in sorted(model.state_dict().items()):
    h.update(tensor.numpy().tobytes())
print("weights", h.hexdigest())
