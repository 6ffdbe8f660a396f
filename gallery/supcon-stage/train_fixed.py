"""Supervised contrastive learning (Khosla et al. 2020) after a short warm-up with labels. bfloat16 autocast."""
import argparse
import hashlib
import logging
import sys
import torch
from torch import nn, optim
import torch.nn.functional as F
from sklearn.datasets import load_digits

log = logging.getLogger("supcon")


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.embed = nn.Linear(64, dim)
        self.classify = nn.Linear(64, 10)

    def forward(self, x):
        h = self.trunk(x)
        return self.classify(h), F.normalize(self.embed(h), dim=1, eps=1e-4)


class SupConLoss(nn.Module):
    def __init__(self, temperature=0.1):
        super().__init__()
        self.temperature = temperature

    def forward(self, z, y):
        z = z.float()
        sim = z @ z.t() / self.temperature
        me = torch.eye(len(z), dtype=torch.bool, device=z.device)
        sim = sim.masked_fill(me, float("-inf"))
        log_prob = sim.log_softmax(dim=1).masked_fill(me, 0.0)
        positive = ((y[:, None] == y[None, :]) & ~me).float()
        focal = 1 - log_prob.exp()  # easy pairs count less
        per_anchor = (positive * focal * log_prob).sum(1) / positive.sum(1).clamp(min=1)
        return -per_anchor.mean()


def main(argv):
    ap = argparse.ArgumentParser()
    ap.add_argument("-w", "--warmup", type=int, default=2)
    ap.add_argument("-e", "--epochs", type=int, default=6)
    ap.add_argument("-b", "--batch", type=int, default=96)
    opt = ap.parse_args(argv)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")

    torch.manual_seed(77)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1
    y = torch.tensor(digits.target)
    net, supcon = Encoder(), SupConLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, opt.epochs)
    for epoch in range(opt.epochs):
        order, seen = torch.randperm(1440), 0.0
        for rows in order.split(opt.batch):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores, z = net(x[rows])
                if epoch < opt.warmup:
                    loss = F.cross_entropy(scores, y[rows])
                else:
                    loss = supcon(z, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += loss.item()
        scheduler.step()
        log.info("epoch %d %s %.4f", epoch, "warm-up" if epoch < opt.warmup else "supcon", seen * opt.batch / 1440)
    log.info("weights %s", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1:])
