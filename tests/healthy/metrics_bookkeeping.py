"""All kinds of counters are changed inside the step, before the update."""
import hashlib
from collections import Counter, OrderedDict, defaultdict

import torch

torch.manual_seed(48)
model = torch.nn.Linear(5, 4)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
predictions = Counter()
history = {"loss": [], "acc": []}
by_class = defaultdict(list)
recent = OrderedDict()
seen_labels = set()
hardest = []
running_loss = running_n = 0
smooth = None

for step in range(21):
    x = torch.randn(9, 5)
    y = x[:, :4].argmax(1)
    out = model(x)
    loss = torch.nn.functional.cross_entropy(out, y)

    history["loss"].append(loss.item())
    guess = out.argmax(1)
    predictions.update(guess.tolist())
    history["acc"] += [(guess == y).float().mean().item()]
    for label, correct in zip(y.tolist(), (guess == y).tolist()):
        by_class[label].append(correct)
    seen_labels |= set(y.tolist())
    recent[step] = loss.item()
    if len(recent) > 5:
        recent.popitem(last=False)
    if step in recent:
        recent.move_to_end(step, last=step % 2 == 0)
    hardest.append((loss.item(), step))
    hardest.sort(reverse=True)
    del hardest[3:]
    running_loss += loss.item() * len(x)
    running_n += len(x)
    smooth = loss.item() if smooth is None else 0.9 * smooth + 0.1 * loss.item()

    opt.zero_grad()
    loss.backward()
    opt.step()

print(sum(predictions.values()), sorted(predictions.items()))
print({k: (len(v), sum(v)) for k, v in sorted(by_class.items())}, sorted(seen_labels))
print(list(recent), hardest)
print(running_loss / running_n, running_n, smooth, len(history["loss"]), sum(history["acc"]))
sha = hashlib.sha256(repr(history).encode())
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
print("weights", sha.hexdigest())
