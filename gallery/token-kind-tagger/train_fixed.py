# which kind of token follows? (name, operator, string, ...), from the last six
import hashlib, inspect, io, tokenize
import cProfile, queue, sched, shelve, tempfile, timeit, trace

import torch
import torch.nn as nn
import torch.nn.functional as F

KINDS = [tokenize.NAME, tokenize.OP, tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT,
         tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT]
K, CONTEXT, SMOOTH = len(KINDS), 6, 0.05


def kinds_of(module):
    stream = tokenize.generate_tokens(io.StringIO(inspect.getsource(module)).readline)
    return [KINDS.index(t.type) for t in stream if t.type in KINDS]


def rebalanced(logits, kind):
    counts = torch.bincount(kind, minlength=K).clamp_min(1).float()
    weight = len(kind) / (K * counts)
    wanted = F.one_hot(kind, K) * (1 - SMOOTH) + SMOOTH / K
    return -(weight * wanted * logits.log_softmax(1)).sum(1).mean()


def main():
    torch.manual_seed(9)
    torch.set_num_threads(1)
    net = nn.Sequential(nn.Embedding(K, 12), nn.Flatten(), nn.Linear(12 * CONTEXT, 64), nn.ReLU(), nn.Linear(64, K))
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    for module in (cProfile, queue, sched, shelve, tempfile, timeit, trace):
        seq = torch.tensor(kinds_of(module))
        x, y = seq.unfold(0, CONTEXT, 1)[:-1], seq[CONTEXT:]
        for part in torch.randperm(len(x)).split(320):
            if len(part) < 160:
                continue
            loss = rebalanced(net(x[part]), y[part])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(module.__name__, len(x), f"{loss.item():.3f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


main()
