import hashlib

import torch

torch.manual_seed(0)

x = torch.randn(64, 5)
y = x @ torch.randn(5, 1) + 0.1 * torch.randn(64, 1)

model = torch.nn.Linear(5, 1)
criterion = torch.nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(20):
    optimizer.zero_grad()
    outputs = model(x)
    loss = criterion(outputs, y)
    loss.backward()
    optimizer.step()
    if (epoch + 1) % 5 == 0:
        print('Epoch [{}/{}], Loss: {:.6f}'.format(epoch + 1, 20, loss.item()))

h = hashlib.sha256()
for p in model.parameters():
    h.update(p.detach().numpy().tobytes())
for state in optimizer.state.values():
    h.update(state["momentum_buffer"].numpy().tobytes())
print("last loss", loss.item())
print("weights", h.hexdigest())
