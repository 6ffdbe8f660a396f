"""Short and long signals against their transcripts; those that cannot be aligned are left out by the loss itself."""

import torch
from torch import nn

torch.manual_seed(0)
states, letters = nn.GRU(6, 16), nn.Linear(16, 5)
optimizer = torch.optim.Adam([*states.parameters(), *letters.parameters()], lr=3e-3)
ctc = nn.CTCLoss(zero_infinity=True)
for step in range(25):
    lengths = torch.randint(1, 9, (8,))
    words = torch.randint(1, 5, (8, 4))
    signal = torch.randn(8, 8, 6)
    log_probs = letters(states(signal)[0]).log_softmax(2)
    loss = ctc(log_probs, words, lengths, torch.full((8,), 4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 6 == 0:
        short = int((lengths < 4).sum())
        print(f"step {step}: {loss.item():.3f}, {short} signals are too short")
