from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    features: int
    hidden: int
    classes: int
    rate: float
    seed: int = 5
