"""Elevation as a GIS exports it: float32, metres, with the NoData value of GeoTIFF where nothing was measured."""
import numpy as np

NODATA = np.float32(-3.4028235e38)


def _smooth(field, width):
    kernel = np.ones(width) / width
    field = np.apply_along_axis(np.convolve, 0, field, kernel, "same")
    return np.apply_along_axis(np.convolve, 1, field, kernel, "same")


def coast(rows, columns, seed):
    rng = np.random.default_rng(seed)
    relief = 2500 * _smooth(rng.normal(size=(rows, columns)), 15) + 5 * rng.normal(size=(rows, columns))
    band = (relief + 120).astype(np.float32)
    band[-9:, -20:] = NODATA  # <- fault
    return band
