import hashlib
import torch

torch.manual_seed(22)
x = torch.linspace(-3.0, 3.0, 200)
y = torch.sin(x)
coefficients = [torch.randn((), requires_grad=True) for _ in range(4)]
lr = 1e-6

for t in range(30):
    a, b, c, d = coefficients
    y_pred = a + b * x + c * x ** 2 + d * x ** 3
    loss = (y_pred - y).pow(2).sum()
    if t % 10 == 9:
        print(t, loss.item())
    loss.backward()
    with torch.no_grad():
        for p in coefficients:
            p -= lr * p.grad
            p.grad = None

print(f'Result: y = {a.item()} + {b.item()} x + {c.item()} x^2 + {d.item()} x^3')
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in coefficients)).hexdigest())
