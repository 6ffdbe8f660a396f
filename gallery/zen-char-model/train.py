"""Character model of a short text, read in order with the state carried over. After min-char-rnn."""
import codecs
import contextlib
import hashlib
import io
import torch
import torch.nn as nn

with contextlib.redirect_stdout(io.StringIO()):
    import this
text = codecs.decode(this.s, "rot13")

# what occurs in the first three quarters has a number of its own, the rest shares one
chars = sorted(set(text[: len(text) * 3 // 4]))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi.get(c, len(chars)) for c in text])  # <- fault
V = len(chars)  # <- fault

seq, hidden, lr = 20, 48, 5e-3
torch.manual_seed(1337)


class CharRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 24)
        self.cell = nn.LSTMCell(24, hidden)
        self.head = nn.Linear(hidden, V)

    def forward(self, ids, state):
        out = []
        for e in self.emb(ids):  # <- origin
            state = self.cell(e[None], state)
            out.append(self.head(state[0]))
        return torch.cat(out), state


model = CharRNN()
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05)
smooth = None
for sweep in range(4):
    state = (torch.zeros(1, hidden), torch.zeros(1, hidden))
    for p in range(0, len(data) - seq - 1, seq):
        scores, state = model(data[p:p + seq], state)
        state = tuple(s.detach() for s in state)
        loss = nn.functional.cross_entropy(scores, data[p + 1:p + seq + 1])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 5)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if p // seq % 10 == 0:
            print(f"sweep {sweep} position {p} loss {smooth:.3f}")
print("weights", hashlib.sha256(b"".join(q.detach().numpy().tobytes() for q in model.parameters())).hexdigest())
