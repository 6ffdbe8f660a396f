import ast
import hashlib
import pathlib

import torch

from classifier import NameClassifier

kinds = {}
for path in sorted(pathlib.Path(ast.__file__).parent.glob("[a-u]*.py")):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            kinds[node.name] = 0
        elif isinstance(node, ast.FunctionDef):
            kinds[node.name] = 1
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            kinds[node.targets[0].id] = 2

torch.manual_seed(13)
torch.set_num_threads(1)
pools = [[n for n in sorted(kinds) if kinds[n] == k and not n.startswith("_")] for k in range(3)]
names = [n for pool in pools for n in pool[:: max(1, len(pool) // 450)][:450]]
labels = [kinds[n] for n in names]
clf = NameClassifier(epochs=8).fit(names, labels)
guesses = clf.predict(names)
print("right:", sum(g == l for g, l in zip(guesses, labels)), "of", len(labels))
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in clf.parameters())).hexdigest())
