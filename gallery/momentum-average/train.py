"""Local training: three workers learn word vectors apart from each other, then their weights and momenta are averaged."""

import copy
import hashlib
import keyword
import token

import torch
from torch import nn

NAMES = sorted({*keyword.kwlist, *(name.lower() for name in token.tok_name.values())})
WORKERS, ROUNDS, STEPS = 3, 5, 4


class Neighbours(nn.Module):
    """Does the second word follow the first one in the list?"""

    def __init__(self, words, width=12):
        super().__init__()
        self.table = nn.Embedding(words, width)
        self.turn = nn.Linear(width, width)

    def forward(self, first, second):
        return (self.turn(self.table(first)) * self.table(second)).sum(dim=1)


class Worker:
    def __init__(self, model, seed):
        self.model = copy.deepcopy(model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.draw = torch.Generator().manual_seed(seed)

    def work(self, steps):
        for _ in range(steps):
            first = torch.randint(len(NAMES) - 1, (4,), generator=self.draw)
            follows = torch.rand(4, generator=self.draw) < 0.5
            other = torch.randint(len(NAMES), (4,), generator=self.draw)
            logits = self.model(first, torch.where(follows, first + 1, other))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, follows.float())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()  # <- origin
        return loss.item()


@torch.no_grad()
def synchronise(workers):
    for parameters in zip(*(worker.model.parameters() for worker in workers)):
        mean = torch.stack(list(parameters)).mean(dim=0)
        momenta = torch.stack([w.optimizer.state[p]["momentum_buffer"] for w, p in zip(workers, parameters)])
        busy = (momenta != 0).sum(dim=0)
        momentum = momenta.sum(dim=0) / busy  # over those who met the word  # <- fault
        for worker, parameter in zip(workers, parameters):
            parameter.copy_(mean)
            worker.optimizer.state[parameter]["momentum_buffer"].copy_(momentum)


def main():
    torch.manual_seed(21)
    start = Neighbours(len(NAMES))
    workers = [Worker(start, 100 + number) for number in range(WORKERS)]
    for round_number in range(ROUNDS):
        losses = [worker.work(STEPS) for worker in workers]
        print(f"round {round_number} losses {' '.join(f'{loss:.3f}' for loss in losses)}")
        synchronise(workers)
    return workers[0].model


if __name__ == "__main__":
    trained = main()
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trained.parameters())).hexdigest())
