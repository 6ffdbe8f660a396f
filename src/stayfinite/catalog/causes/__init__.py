"""Causes, one per file; the file name is the id. See `stayfinite.catalog.cause` for what one is made of."""
