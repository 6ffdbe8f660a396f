import hashlib
import torch
from torch import nn

torch.manual_seed(74)
model = nn.ModuleDict({"emb": nn.Embedding(15, 6), "mid": nn.Linear(6, 6), "out": nn.Linear(6, 2)})
no_decay = ["bias", "emb"]
groups = [
    {"params": [p for n, p in model.named_parameters() if not any(k in n for k in no_decay)], "weight_decay": 0.1},
    {"params": [p for n, p in model.named_parameters() if any(k in n for k in no_decay)], "weight_decay": 0.0, "lr": 0.05},
]
optimizer = torch.optim.AdamW(groups, lr=0.01, amsgrad=True, maximize=False)
for it in range(15):
    words = torch.randint(15, (7, 4))
    hidden = model["mid"](model["emb"](words).mean(1)).relu()
    logits = model["out"](hidden)
    target = (words.float().mean(1) > 7).long()
    loss = nn.functional.multi_margin_loss(logits, target)
    for g in optimizer.param_groups:
        g["lr"] *= 0.98
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % 5 == 4: print(it, loss.item(), [g["lr"] for g in optimizer.param_groups])
h = hashlib.sha256()
for p in model.parameters():
    h.update(p.detach().numpy().tobytes())
    for k in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
        h.update(optimizer.state[p][k].numpy().tobytes())
print("weights", h.hexdigest())
