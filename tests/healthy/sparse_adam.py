import hashlib
import torch

torch.manual_seed(75)
emb = torch.nn.Embedding(50, 4, sparse=True)
ctx = torch.nn.Embedding(50, 4, sparse=True)
opts = [torch.optim.SparseAdam(list(emb.parameters()), lr=0.05), torch.optim.SGD(ctx.parameters(), lr=0.5)]
corpus = [(7 * i + i * i) % 50 for i in range(200)]
for step in range(15):
    at = torch.randint(1, 199, (12,)).tolist()
    centre = torch.tensor([corpus[i] for i in at])
    near = torch.tensor([corpus[i + 1] for i in at])
    noise = torch.randint(50, (12, 3))
    good = (emb(centre) * ctx(near)).sum(1)
    poor = (emb(centre).unsqueeze(1) * ctx(noise)).sum(2)
    loss = -(torch.nn.functional.logsigmoid(good).mean() + torch.nn.functional.logsigmoid(-poor).mean())
    for o in opts:
        o.zero_grad()
    loss.backward()
    for o in opts:
        o.step()
    print(step, loss.item())
s = opts[0].state[emb.weight]
parts = [emb.weight, ctx.weight, s["exp_avg"], s["exp_avg_sq"]]
print("weights", hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in parts)).hexdigest())
