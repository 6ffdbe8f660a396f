# %% [markdown]
# # Can a small network learn what a random forest knows?
# First an ordinary fit to the labels, then a second stage in which the network copies the votes of the forest.

# %%
import hashlib
import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

torch.manual_seed(0)
rng = np.random.RandomState(0)

# %%
wine = load_wine()
X = StandardScaler().fit_transform(wine.data).astype("float32")
y = wine.target
perm = rng.permutation(len(X))
X, y = X[perm], y[perm]

# %%
forest = RandomForestClassifier(n_estimators=15, max_depth=3, random_state=0).fit(X, y)
votes = torch.from_numpy(forest.predict_proba(X).astype("float32"))
X = torch.from_numpy(X)
y = torch.from_numpy(y)

# %%
student = nn.Sequential(nn.Linear(13, 24), nn.GELU(), nn.Linear(24, 3))
optim = torch.optim.AdamW(student.parameters(), lr=5e-3)


def soft_loss(scores, p):
    # the network copies the votes, and more eagerly where the trees agree
    disorder = -(p * p.log()).sum(1)  # <- origin
    certainty = 1 - disorder / np.log(p.shape[1])
    return (certainty * nn.functional.cross_entropy(scores, p, reduction="none")).mean()


# %%
history = []
for epoch in range(16):
    stage = "labels" if epoch < 6 else "votes"
    for rows in torch.randperm(len(X)).split(32):
        scores = student(X[rows])
        if stage == "labels":
            loss = nn.functional.cross_entropy(scores, y[rows])
        else:
            loss = soft_loss(scores, votes[rows])
        optim.zero_grad()
        loss.backward()
        optim.step()
        history.append(loss.item())
    print(epoch, stage, round(float(np.mean(history[-6:])), 4))

# %%
agree = (student(X).argmax(1) == votes.argmax(1)).float().mean().item()
print("agreement", round(agree, 3))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in student.parameters())).hexdigest())
