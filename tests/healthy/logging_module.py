import hashlib
import logging
import warnings

import torch

logger = logging.getLogger("training")
logger.setLevel(logging.DEBUG)
console = logging.StreamHandler()
console.setLevel(logging.INFO)
console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
logger.addHandler(console)
to_file = logging.FileHandler("debug.log", mode="w")
to_file.setFormatter(logging.Formatter("%(levelname)-8s %(funcName)s:%(lineno)d %(message)s"))
logger.addHandler(to_file)


def train(model, steps):
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, lr_decay=0.01)
    for step in range(steps):
        x = torch.randn(10, 4)
        logger.debug("batch %d has mean %.7f", step, x.mean())
        loss = torch.nn.functional.mse_loss(model(x), x.mean(1, keepdim=True))
        if loss > 0.5:
            warnings.warn("the loss is still large")
        logger.info("step %d loss %.7f", step, loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logger.debug("weights sum to %.7f", sum(p.sum() for p in model.parameters()))
    return optimizer


torch.manual_seed(53)
model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
optimizer = train(model, 12)
digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
    digest.update(optimizer.state[p]["sum"].numpy().tobytes())
print("weights", digest.hexdigest())
