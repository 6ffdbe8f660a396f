"""A small policy learns to play like a large one. Positions come with the moves that are allowed."""

import hashlib

import torch
from torch import nn

from distill import Distillation

MOVES = 9


def positions(batches, generator):
    for number in range(batches):
        board = torch.randn(24, 18, generator=generator)
        allowed = torch.ones(24, MOVES, dtype=torch.bool)
        if number == 17:
            allowed[3, 5:7] = False  # the first position of the set in which something is blocked
        yield board, allowed


class Report:
    def __init__(self, every):
        self.every, self.seen = every, []

    def after_step(self, trainer, number, loss):
        self.seen.append(loss)
        if number % self.every == 0:
            print(f"step {number}: divergence {loss:.5f}")


class Trainer:
    def __init__(self, student, teacher, hooks):
        self.student, self.teacher, self.hooks = student, teacher.eval().requires_grad_(False), hooks
        self.criterion = Distillation(temperature=2.0)
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)

    def fit(self, data):
        for number, (board, allowed) in enumerate(data):
            loss = self.criterion(self.student(board), self.teacher(board), allowed)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            self.optimizer.step()
            for hook in self.hooks:
                hook.after_step(self, number, loss.item())


if __name__ == "__main__":
    torch.manual_seed(21)
    teacher = nn.Sequential(nn.Linear(18, 64), nn.GELU(), nn.Linear(64, MOVES))
    student = nn.Sequential(nn.Linear(18, 12), nn.GELU(), nn.Linear(12, MOVES))
    report = Report(every=10)
    Trainer(student, teacher, [report]).fit(positions(40, torch.Generator().manual_seed(5)))
    print("final loss", report.seen[-1])
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in student.parameters())).hexdigest())
