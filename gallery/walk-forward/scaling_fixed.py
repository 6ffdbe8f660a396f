"""Brings columns to the range from 0 to 1; a column without a range to 0."""

import torch


class RangeScaler:
    def fit(self, table):
        self.low = table.amin(dim=0)
        self.high = table.amax(dim=0)
        return self

    def __call__(self, table):
        width = self.high - self.low
        return (table - self.low) / torch.where(width > 0, width, torch.ones_like(width))
