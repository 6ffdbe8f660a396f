"""Which statement is it? The standard library's source, token by token; a statement is the mean of its tokens' states."""

import bisect
import hashlib
import inspect
import io
import textwrap
import tokenize

import torch
from torch import nn

FIRST = ["def", "if", "return", "for", "raise"]


def statements(module):
    """Texts of up to 60 tokens, and for each (first token, end, kind) of the statements in it."""
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(inspect.getsource(module)).readline) if t.string.strip()]
    for start in range(0, len(tokens) - 60, 60):
        part = tokens[start : start + 60]
        lines = [t.start[0] for t in part]
        spans = []
        for at, token in enumerate(part):
            if token.string in FIRST and (at == 0 or lines[at - 1] < lines[at]):
                end = bisect.bisect_right(lines, lines[at])
                spans.append((min(at + 1, end - 1), end, FIRST.index(token.string)))  # without the word that gives it away
        if spans:
            yield [t.string for t in part], spans


class Encoder(nn.Module):
    def __init__(self, words, width=24):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.states = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        self.kind = nn.Linear(2 * width, len(FIRST))

    def forward(self, tokens, spans):
        states, _ = self.states(self.embedding(tokens).unsqueeze(0))
        pooled = [states[0, start:end].mean(0) for start, end, _ in spans]
        return self.kind(torch.stack(pooled))


def main():
    torch.manual_seed(6)
    texts = list(statements(textwrap))
    index = {word: number for number, word in enumerate(sorted({word for text, _ in texts for word in text}))}
    model = Encoder(len(index))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for number, (text, spans) in enumerate(texts):
        tokens = torch.tensor([index[word] for word in text])
        kinds = torch.tensor([kind for _, _, kind in spans])
        loss = nn.functional.cross_entropy(model(tokens, spans), kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number % 5 == 0:
            print(f"text {number}: {loss.item():.3f}")
    print("final loss", loss.item())
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
