# which letter follows which: a table of counts, learnt the hard way
import torch
import torch.nn as nn
from torch.nn import functional as F
from hashlib import sha256

torch.manual_seed(77)
poem = "in winter when the fields are white i sing this song for your delight "
letters = sorted(set(poem))
number = {c: i for i, c in enumerate(letters)}
data = torch.tensor([number[c] for c in poem * 5])
B, T = 8, 8

def get_batch():
    ix = torch.randint(len(data) - T, (B,))
    x = torch.stack([data[i:i + T] for i in ix])
    y = torch.stack([data[i + 1:i + T + 1] for i in ix])
    return x, y

class Follows(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.table = nn.Embedding(n, n)

    def forward(self, x, y=None):
        scores = self.table(x)
        if y is None:
            return scores, None
        return scores, F.cross_entropy(scores.reshape(-1, scores.size(-1)), y.reshape(-1))

m = Follows(len(letters))
optimizer = torch.optim.AdamW(m.parameters(), lr=1e-2)
for steps in range(25):
    xb, yb = get_batch()
    logits, loss = m(xb, yb)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()

print(loss.item())
s = sha256(m.table.weight.detach().numpy().tobytes())
st = optimizer.state[m.table.weight]
s.update(st['exp_avg'].numpy().tobytes()); s.update(st['exp_avg_sq'].numpy().tobytes())
print("weights", s.hexdigest())
