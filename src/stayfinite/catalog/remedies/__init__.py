"""Remedies, one per file; the file name is the id. See `stayfinite.catalog.remedy` for what one is made of."""
