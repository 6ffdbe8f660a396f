"""Learn a left-to-right hidden Markov model of gestures by the forward algorithm. States can only stay or advance."""

import hashlib

import torch
from torch import nn


class LeftToRight(nn.Module):
    def __init__(self, states=5, symbols=8):
        super().__init__()
        self.stay = nn.Parameter(torch.zeros(states))
        self.emit = nn.Parameter(0.1 * torch.randn(states, symbols))
        allowed = torch.eye(states) + torch.diag(torch.ones(states - 1), 1)
        self.register_buffer("closed", torch.where(allowed > 0, 0.0, -torch.inf))
        start = torch.full((states,), -torch.inf)
        start[0] = 0.0
        self.register_buffer("start", start)

    def transitions(self):
        stay, advance = nn.functional.logsigmoid(self.stay), nn.functional.logsigmoid(-self.stay)
        moves = torch.diag(stay) + torch.diag(advance[:-1], 1)
        return moves + self.closed

    def forward(self, symbols):
        """Log-likelihood of each row of `symbols` (rows, time); no state can be reached before its time."""
        emit = self.emit.log_softmax(dim=1)
        moves = self.transitions()
        alpha = self.start + emit[:, symbols[:, 0]].T
        for time in range(1, symbols.shape[1]):
            reached = alpha[:, :, None] + moves
            best = reached.amax(dim=1).clamp(min=-1e30)
            alpha = best + (reached - best[:, None]).exp().sum(dim=1).clamp(min=1e-30).log()
            alpha = alpha + emit[:, symbols[:, time]].T
        return alpha.logsumexp(dim=1)


torch.manual_seed(51)
model = LeftToRight()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
truth = torch.randn(5, 8).mul(2).softmax(dim=1)
for step in range(60):
    state = torch.sort(torch.randint(5, (32, 12)), dim=1).values
    symbols = torch.multinomial(truth[state.flatten()], 1).reshape(32, 12)
    loss = -model(symbols).mean() / 12
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 15 == 0:
        print(f"step {step}: {loss.item():.4f}, a forbidden move has {model.transitions()[0, 3].item()}")

print("final loss", loss.item())
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
