from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import torch
from torch import nn


class Phase(Enum):
    WARM = auto()
    MAIN = auto()
    COOL = auto()


@dataclass(slots=True)
class Meter:
    total: float = 0.0
    count: int = 0

    def __iadd__(self, value: float) -> Meter:
        self.total += value
        self.count += 1
        return self


@dataclass
class State:
    step: int = 0
    phase: Phase = Phase.WARM
    meter: Meter = field(default_factory=Meter)
    seen: list[Phase] = field(default_factory=list)


@dataclass(frozen=True)
class Schedule:
    lr: float
    done: int = 0


def rate(state: State) -> float:
    match state:
        case State(phase=Phase.WARM, step=s):
            return 0.01 * (s + 1)
        case State(phase=Phase.MAIN):
            return 0.05
        case _:
            return 0.005


torch.manual_seed(65)
net = nn.Sequential(nn.Linear(4, 8), nn.Hardswish(), nn.Linear(8, 4))
opt = torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
state, schedule = State(), Schedule(0.0)

while state.step < 18:
    batch = torch.randn(6, 4)
    match state.step // 6:
        case 0:
            state.phase = Phase.WARM
        case 1:
            state.phase = Phase.MAIN
        case _:
            state.phase = Phase.COOL
    state.seen.append(state.phase)
    schedule = replace(schedule, lr=rate(state), done=schedule.done + 1)
    opt.param_groups[0]["lr"] = schedule.lr
    loss = nn.functional.mse_loss(net(batch), batch.roll(1, 1))
    state.meter += loss.item()
    opt.zero_grad()
    loss.backward()
    opt.step()
    state.step += 1

print(state.step, state.phase.name, state.meter, schedule, len(state.seen))
sha = hashlib.sha256(repr(state.meter).encode())
for p in net.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(opt.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
