import torch
from torch import nn


class Distillation(nn.Module):
    """Kullback-Leibler divergence from the teacher's moves to the student's, over the allowed ones."""

    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def forward(self, student, teacher, allowed):
        log_q = torch.log_softmax(student.masked_fill(~allowed, -torch.inf) / self.temperature, dim=1)
        log_p = torch.log_softmax(teacher.masked_fill(~allowed, -torch.inf) / self.temperature, dim=1)
        apart = log_p - log_q  # <- origin
        return (log_p.exp() * apart).sum(dim=1).mean()
