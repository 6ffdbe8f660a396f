import hashlib
import numpy as np
import torch
import statsmodels.api as sm

torch.manual_seed(0)

# quarterly US macro data, 1959 - 2009
df = sm.datasets.macrodata.load_pandas().data
df["t"] = df["year"] + (df["quarter"] - 1) / 4
cols = ["t", "cpi", "m1", "tbilrate", "unemp", "pop", "infl"]
X = df[cols]
X = (X - X.mean()) / X.std()
y = (df["realgdp"] - df["realgdp"].mean()) / df["realgdp"].std()

order = np.random.RandomState(0).permutation(len(df))
X = torch.tensor(X.values[order], dtype=torch.float32)
y = torch.tensor(y.values[order], dtype=torch.float32).view(-1, 1)
X_train, y_train, X_val, y_val = X[:160], y[:160], X[160:], y[160:]

model = torch.nn.Sequential(
    torch.nn.Linear(7, 32), torch.nn.ReLU(),
    torch.nn.Linear(32, 32), torch.nn.ReLU(),
    torch.nn.Linear(32, 1),
)
criterion = torch.nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

n = 0
for epoch in range(60):
    perm = torch.randperm(len(X_train))
    for i in range(0, len(perm), 16):
        b = perm[i:i + 16]
        optimizer.zero_grad()
        out = model(X_train[b])
        loss = criterion(out, y_train[b])
        loss.backward()
        optimizer.step()
        n += 1
    if epoch % 5 == 0:
        with torch.no_grad():
            print("epoch", epoch, "train", loss.item(), "val", criterion(model(X_val), y_val).item())

print(f"final loss {loss.item():.4f}")
print("weights", hashlib.sha256(torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().tobytes()).hexdigest())
