"""Daily fields of the sea surface temperature on a small grid, as a reanalysis delivers them."""
import numpy as np
import torch
from torch.utils.data import Dataset

DAYS, HEIGHT, WIDTH = 480, 12, 16


def read_archive(seed=9):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    fields = np.empty((DAYS, HEIGHT, WIDTH), dtype=np.float32)
    for day in range(DAYS):
        season = 6 * np.sin(2 * np.pi * day / 365)
        eddy = 1.5 * np.sin(0.5 * x + 0.02 * day) * np.cos(0.6 * y - 0.03 * day)
        fields[day] = 14 + season - 0.4 * y + eddy + 0.2 * rng.standard_normal((HEIGHT, WIDTH))
    # a pass of the satellite in which one cell was lost: the default fill value of the format
    fields[331, 7, 2] = 9.96921e36  # <- fault
    return fields


class NextDay(Dataset):
    """The field of a day and the change to the day after."""

    def __init__(self):
        fields = read_archive()
        centre = np.median(fields)
        spread = np.subtract(*np.percentile(fields, [75, 25]))
        self.fields = torch.from_numpy(((fields - centre) / spread).astype(np.float32))  # <- fault

    def __len__(self):
        return len(self.fields) - 1

    def __getitem__(self, day):
        return self.fields[day][None], self.fields[day + 1][None]
