import io
import random
import sysconfig
import tokenize
from pathlib import Path


def comments(name):
    text = (Path(sysconfig.get_paths()["stdlib"]) / name).read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and len(token.string) > 12:
            yield token.string.lstrip("# ").lower()[:48]


def load(names, seed=0):
    pairs = [(text, label) for label, name in enumerate(names) for text in comments(name)]
    random.Random(seed).shuffle(pairs)
    return pairs


def encode(text, width=48):
    ids = [min(ord(c), 127) for c in text]
    return ids + [0] * (width - len(ids))
