"""A step on disk: written when it fails, read and run again in a fresh process."""
