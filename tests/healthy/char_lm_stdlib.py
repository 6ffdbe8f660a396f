"""A character language model of the standard library's own source text."""
import hashlib
import inspect
import textwrap

import torch
import torch.nn as nn

text = inspect.getsource(textwrap)[:6000]
vocab = sorted(set(text))
encode = {ch: i for i, ch in enumerate(vocab)}
ids = torch.tensor([encode[c] for c in text], dtype=torch.long)

torch.manual_seed(45)


class CharLM(nn.Module):
    def __init__(self, n_vocab: int, width: int = 24):
        super().__init__()
        self.embedding = nn.Embedding(n_vocab, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, n_vocab)

    def forward(self, x, hidden=None):
        out, hidden = self.gru(self.embedding(x), hidden)
        return self.out(out), hidden

    @torch.no_grad()
    def write(self, start: str, length: int) -> str:
        result, hidden, x = start, None, torch.tensor([[encode[c] for c in start]])
        for _ in range(length):
            logits, hidden = self(x, hidden)
            x = torch.multinomial(logits[:, -1].softmax(-1), 1)
            result += vocab[x.item()]
        return result


model = CharLM(len(vocab))
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
for step in range(20):
    start = torch.randint(0, len(ids) - 33, (8,))
    batch = torch.stack([ids[s : s + 33] for s in start])
    logits, _ = model(batch[:, :-1])
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 10 == 9:
        print(step, loss.item(), repr(model.write("def ", 20)))

state = hashlib.sha256()
for parameter in model.parameters():
    state.update(parameter.detach().numpy().tobytes())
    state.update(optimizer.state[parameter]["exp_avg_sq"].numpy().tobytes())
print("weights", state.hexdigest())
