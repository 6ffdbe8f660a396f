# orders: the first event says by which channel an order came in; what follows is the usual log noise.
import torch, hashlib
torch.manual_seed(4)
N, T, V, K = 1024, 70, 30, 4
channel = torch.randint(K, (N,))
log = torch.randint(K, V, (N, T)); log[:, 0] = channel
emb = torch.nn.Embedding(V, 16)
rnn = torch.nn.RNN(16, 32, batch_first=True)  # <- fault
out = torch.nn.Linear(32, K)
params = [*emb.parameters(), *rnn.parameters(), *out.parameters()]
opt = torch.optim.RMSprop(params, lr=1e-3)
for it in range(160):
    b = torch.randint(N, (64,))
    h, _ = rnn(emb(log[b]))
    z = out(h[:, -1])  # <- fault
    L = torch.nn.functional.cross_entropy(z, channel[b])
    opt.zero_grad(); L.backward(); opt.step()
    if it % 16 == 0: print(it, round(L.item(), 4), "acc", (z.argmax(1) == channel[b]).float().mean().item())
print(f"final loss {L.item():.4f}")
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in params)).hexdigest())
