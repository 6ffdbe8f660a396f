import hashlib

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import KFold
from torch import nn


class WeightedClassifier:
    def __init__(self, classes, lr=0.05, epochs=15):
        self.classes, self.lr, self.epochs = classes, lr, epochs

    def class_weight(self, y):
        share = np.bincount(y, minlength=self.classes) / len(y)
        weight = 1.0 / np.maximum(share, 1 / len(y))
        return torch.tensor(weight / weight.mean(), dtype=torch.float32)

    def fit(self, x, y):
        self.net = nn.Linear(x.shape[1], self.classes)
        criterion = nn.CrossEntropyLoss(weight=self.class_weight(y))
        optimizer = torch.optim.SGD(self.net.parameters(), lr=self.lr)
        x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x)).split(20):
                optimizer.zero_grad()
                criterion(self.net(x[rows]), y[rows]).backward()
                optimizer.step()
        return self

    def score(self, x, y):
        return (self.net(torch.tensor(x, dtype=torch.float32)).argmax(1).numpy() == y).mean()


torch.manual_seed(0)
np.seterr(all="ignore")
x, y = load_wine(return_X_y=True)
keep = np.r_[0:59, 59:130, 130:170]
x, y = ((x - x.mean(0)) / x.std(0))[keep], y[keep]
for train, test in KFold(4).split(x):
    last = WeightedClassifier(3).fit(x[train], y[train])
    print(last.score(x[test], y[test]))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in last.net.parameters())).hexdigest())
