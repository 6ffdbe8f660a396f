import hashlib
import torch
import torch.nn as nn

torch.manual_seed(28)
encoder = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
head = nn.Linear(16, 2)
params = [*encoder.parameters(), *head.parameters()]
optim = torch.optim.AdamW(params, lr=1e-3)
step = 0
while True:
    seq = torch.randn(6, 7, 16)
    want = (seq.mean((1, 2)) > 0).long()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(True):
        hidden = encoder(seq)
        logits = head(hidden[:, 0])
    loss = nn.functional.cross_entropy(logits.float(), want)
    optim.zero_grad()
    loss.backward()
    optim.step()
    if step % 4 == 0: print(step, loss.item())
    step += 1
    if step == 13: break
digest = hashlib.sha256()
for p in params:
    digest.update(p.detach().numpy().tobytes()); digest.update(optim.state[p]['exp_avg_sq'].numpy().tobytes())
print("weights", digest.hexdigest())
