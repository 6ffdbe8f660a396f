"""Which standard module is a sentence of documentation about?  Bag of words, least squares on one-hot topics."""
import ast
import hashlib
import re
import sysconfig
from collections import Counter
from pathlib import Path

import torch

MODULES = ["argparse", "tarfile", "statistics", "turtle", "subprocess", "datetime"]


def sentences(module):
    source = (Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            for sentence in re.split(r"[.!?]\s|\n\n", ast.get_docstring(node) or ""):
                found = re.findall(r"[a-z]{3,}", sentence.lower())
                if len(found) > 3:
                    yield found


class Experiment:
    def __init__(self, seed=0):
        torch.manual_seed(seed)
        pairs = [(words, topic) for topic, module in enumerate(MODULES) for words in sentences(module)]
        lexicon = {w: i for i, (w, _) in enumerate(Counter(w for words, _ in pairs for w in words).most_common(600))}
        self.bags = torch.zeros(len(pairs), len(lexicon))
        for row, (words, _) in enumerate(pairs):
            for w in words:
                if w in lexicon:
                    self.bags[row, lexicon[w]] = 1.0
        self.topics = torch.tensor([t for _, t in pairs])
        self.net = torch.nn.Linear(len(lexicon), len(MODULES))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.06)

    def update(self, rows):
        self.optimizer.zero_grad  # <- fault
        scores = self.net(self.bags[rows])
        loss = (scores - torch.eye(len(MODULES))[self.topics[rows]]).square().sum(dim=1).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def run(self, epochs):
        for epoch in range(epochs):
            losses = [self.update(rows) for rows in torch.randperm(len(self.bags)).split(32)]
            print(f"epoch {epoch}: first {losses[0]:.3f} mean {sum(losses) / len(losses):.3f} last {losses[-1]:.3f}")
        return self.net


if __name__ == "__main__":
    torch.set_num_threads(1)
    net = Experiment().run(epochs=8)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
