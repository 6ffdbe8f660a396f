"""A small stand-in for the buoy archive: daily sea surface temperature on a 10 x 14 grid, packed as it is on disk."""
import numpy as np

FILL = np.float32(9.96921e36)


class Variable:
    def __init__(self, values, **attributes):
        self.values = values
        self.attributes = attributes

    def __getitem__(self, key):
        return self.values[key]


def open_archive(days=420, seed=3):
    rng = np.random.default_rng(seed)
    t = np.arange(days)[:, None, None]
    lat = np.linspace(30, 50, 10)[None, :, None]
    lon = np.linspace(-40, -10, 14)[None, None, :]
    season = 6.0 * np.sin(2 * np.pi * (t - 80) / 365.25)
    eddies = 1.5 * np.sin(lon / 3.0 - t / 9.0) * np.cos(lat / 2.5 + t / 14.0)
    sst = 32.0 - 0.4 * lat + season + eddies + rng.normal(0, 0.15, (days, 10, 14))
    sst = sst.astype(np.float32)
    for start, rows, columns in ((231, slice(2, 5), slice(3, 8)), (305, slice(6, 9), slice(0, 4))):
        sst[start:start + 3, rows, columns] = FILL
    return {"time": Variable(np.arange(days)), "sst": Variable(sst, units="degree_Celsius", _FillValue=FILL)}
