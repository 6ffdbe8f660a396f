import numpy as np


class PolynomialDecay:
    def __init__(self, optimizer, peak, total, power=0.9, warmup=10):
        self.optimizer, self.peak, self.total, self.power, self.warmup = optimizer, peak, total, power, warmup
        self.count = 0
        self.step()

    def rate(self, k):
        ramp = min(1.0, (k + 1) / self.warmup)
        return self.peak * ramp * np.power(1.0 - k / self.total, self.power)  # <- origin  # <- fault

    def step(self):
        for group in self.optimizer.param_groups:
            group["lr"] = float(self.rate(self.count))
        self.count += 1
