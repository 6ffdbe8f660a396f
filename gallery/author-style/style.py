"""Numbers that describe how a piece of Python is written, whatever it is about."""
import re

import numpy as np

MARKS = ["self.", "lambda", "yield", "await", "#", '"""', "%", "{", "assert", "->", "@", "is None"]


def describe(lines):
    text = "\n".join(lines)
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    row = [text.count(mark) / len(lines) for mark in MARKS]
    row += [np.mean([len(line) for line in lines]), np.mean(indents or [0]), sum(not line.strip() for line in lines) / len(lines)]
    words = re.findall(r"[A-Za-z_]+", text)
    row += [sum("_" in w.strip("_") for w in words) / max(len(words), 1), sum(w != w.lower() for w in words) / max(len(words), 1)]
    return row


def standardised(pieces):
    table = np.array([describe(lines) for lines in pieces])
    spread = table.std(axis=0)  # <- fault
    return (table - table.mean(axis=0)) / spread  # <- origin
