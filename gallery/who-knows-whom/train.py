"""Which members of a club will vote for the new house? Their answers, and those of the people they know."""

import hashlib

import torch
from torch import nn

MEMBERS, QUESTIONS = 160, 10


class Messages(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.heard = nn.Linear(inputs, outputs, bias=False)

    def forward(self, h, knows):
        return torch.tanh(self.own(h) + self.heard(knows @ h))  # <- fault


class Club(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.rounds = nn.ModuleList([Messages(QUESTIONS, width), Messages(width, width), Messages(width, width)])
        self.vote = nn.Linear(width, 2)
        nn.init.zeros_(self.vote.weight)

    def forward(self, answers, knows):
        h = answers
        for messages in self.rounds:
            h = messages(h, knows)
        return self.vote(h)


def club(generator):
    camp = torch.randint(2, (MEMBERS,), generator=generator)
    answers = torch.rand(MEMBERS, QUESTIONS, generator=generator)
    answers[:, :3] = 0.8 * answers[:, :3] + 0.2 * camp[:, None]
    likely = torch.where(camp[:, None] == camp[None, :], 0.95, 0.85)
    knows = (torch.rand(MEMBERS, MEMBERS, generator=generator) < likely).float()
    knows = torch.triu(knows, 1)
    return answers, knows + knows.T, camp


generator = torch.Generator().manual_seed(21)
torch.manual_seed(21)
answers, knows, camp = club(generator)
asked, others = torch.randperm(MEMBERS, generator=generator).split(120)
model = Club()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)


def learn_from(members):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(answers, knows)[members], camp[members])
    loss.backward()
    optimizer.step()
    return loss


for epoch in range(70):
    for members in asked[torch.randperm(len(asked), generator=generator)].split(40):
        loss = learn_from(members)
    if epoch % 10 == 0:
        print(f"epoch {epoch:3d} loss {loss.item():.4f}")
with torch.no_grad():
    right = (model(answers, knows).argmax(1) == camp)[others].float().mean().item()
print("right among those not asked", right)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
