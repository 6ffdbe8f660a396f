import hashlib
import torch

torch.manual_seed(19)
model = torch.nn.Bilinear(3, 3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, dampening=0.1)
batches = [(torch.randn(8, 3), torch.randn(8, 3)) for _ in range(16)]
log = []

for a, b in batches:
    goal = (a * b).sum(1, keepdim=True)

    def closure(a=a, b=b):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(a, b), goal)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    log.append(float(loss.detach()))

print(log[-3:])
sha = hashlib.sha256(str(log).encode())
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes() + optimizer.state[p]["momentum_buffer"].numpy().tobytes())
print("weights", sha.hexdigest())
