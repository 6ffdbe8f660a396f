"""Detectors, one per file; the file name is the id. See `stayfinite.catalog.detection` for what one is made of."""
