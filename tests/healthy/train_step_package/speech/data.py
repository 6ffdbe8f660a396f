from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from .config import Config


class Utterance(NamedTuple):
    frames: torch.Tensor
    label: torch.Tensor


def utterances(config: Config, count: int) -> Iterator[Utterance]:
    for index in range(count):
        length = int(torch.randint(4, 9, ()))
        label = index % config.classes
        yield Utterance(torch.randn(length, 1, config.features) + label, torch.tensor([label]))
