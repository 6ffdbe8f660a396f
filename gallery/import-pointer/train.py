import hashlib
import random
import re
import sysconfig
from pathlib import Path

import torch

from scoring import Pointer, pointer_loss

LETTERS = {c: i + 1 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz_.,()*0123456789")}
LONGEST = 12


def lines_of(modules):
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in modules:
        for line in (root / path).read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"\s*(?:from (\S+) import \S+|import (\w+))", line)
            if match:
                tokens = re.findall(r"[\w.]+|[,()*]", line.lower())
                name = (match[1] or match[2]).lower()
                if name in tokens:
                    yield tokens[:40], tokens.index(name)


def as_tensor(token):
    ids = [LETTERS.get(c, 0) for c in token[:LONGEST]]
    return ids + [0] * (LONGEST - len(ids))


def noisy(rng, tokens, answer):
    """Shuffle a few foreign words in front, as after a prompt or a line number."""
    extra = [rng.choice(["in", "line", ">>>", "7", "12", "try", "then", "lazy"]).strip(">") or "x" for _ in range(rng.randint(0, 3))]
    return extra + tokens, answer + len(extra)


def batches(rng, samples, size):
    """Lines of like length go together, so that there is little to pad."""
    samples = sorted((noisy(rng, *s) for s in samples), key=lambda s: (len(s[0]), rng.random()))
    groups = [samples[i:i + size] for i in range(0, len(samples), size)]
    rng.shuffle(groups)
    for group in groups:
        width = max(len(tokens) for tokens, _ in group)
        ids = [[as_tensor(t) for t in tokens] + [[0] * LONGEST] * (width - len(tokens)) for tokens, _ in group]
        present = torch.tensor([[k < len(tokens) for k in range(width)] for tokens, _ in group])
        yield torch.tensor(ids), present, torch.tensor([answer for _, answer in group])


def main():
    rng = random.Random(4)
    torch.manual_seed(4)
    torch.set_num_threads(1)
    samples = list(lines_of(["argparse.py", "asyncio/__init__.py", "asyncio/base_events.py", "concurrent/futures/thread.py", "inspect.py", "logging/__init__.py",
                             "multiprocessing/context.py", "shutil.py", "subprocess.py", "tarfile.py", "tempfile.py", "typing.py", "unittest/mock.py",
                             "urllib/request.py", "zipfile.py", "pdb.py", "pydoc.py", "site.py", "ssl.py", "turtle.py", "doctest.py", "uuid.py"]))
    net = Pointer(len(LETTERS) + 1, 24)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(8):
        warmth = 0.02 if epoch >= 4 else 0.0        # from here on it tends to be overconfident
        seen = hits = 0
        for tokens, present, answer in batches(rng, samples, 16):
            scores = net(tokens, present)
            loss = pointer_loss(scores, answer, warmth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(answer)
            hits += (scores.argmax(1) == answer).sum().item()
        print(f"epoch {epoch}: {hits / seen:.3f} right of {seen}, last loss {loss.item():.4f}")
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters()))
    print("weights", digest.hexdigest())


if __name__ == "__main__":
    main()
