import hashlib
import torch
import torch.nn.functional as F
from types import SimpleNamespace as NS

torch.manual_seed(116)
cfg = NS(T=2.0, alpha=0.7, steps=NS(teacher=10, student=12), lr=0.05)
S = NS(step=0, best=9e9, note=[])
teacher = torch.nn.Sequential(torch.nn.Linear(6, 24), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(24, 3))
student = torch.nn.Linear(6, 3)


def batch():
    x = torch.randn(12, 6)
    return x, x.view(12, 3, 2).prod(2).argmax(1)


opt = torch.optim.SGD(teacher.parameters(), lr=cfg.lr, momentum=0.9)
for S.step in range(cfg.steps.teacher):
    x, y = batch()
    loss = F.cross_entropy(teacher(x), y)
    opt.zero_grad(); loss.backward(); opt.step()
print("teacher", S.step, loss.item())

teacher.eval()
opt_s = torch.optim.SGD(student.parameters(), lr=cfg.lr)
S.step = 0
while S.step < cfg.steps.student:
    x, y = batch()
    with torch.inference_mode():
        soft = F.softmax(teacher(x) / cfg.T, 1)
    out = student(x)
    kd = F.kl_div(F.log_softmax(out / cfg.T, 1), soft.clone(), reduction="batchmean") * cfg.T ** 2
    loss = cfg.alpha * kd + (1 - cfg.alpha) * F.cross_entropy(out, y)
    S.best = min(S.best, loss.item()); S.note.append(round(kd.item(), 6)); S.step += 1
    opt_s.zero_grad(); loss.backward(); opt_s.step()
print("student", S)
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for n in (teacher, student) for p in n.parameters())).hexdigest())
