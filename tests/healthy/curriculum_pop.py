import hashlib
import heapq
import torch

torch.manual_seed(85)
model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
lessons = [(k, torch.randn(4 + k, 2) * (1 + k / 4)) for k in range(16)]
lessons.reverse()
again = []
order = []
tie = 0
while lessons or again:
    if again and (len(again) > 3 or not lessons):
        _, _, level, x = heapq.heappop(again)
    else:
        level, x = lessons.pop()
    order.append(level)
    loss = (model(x).squeeze(1) - x.norm(dim=1)).abs().mean()
    if loss.item() > 0.9 and order.count(level) < 3:
        heapq.heappush(again, (-loss.item(), tie, level, x))
        tie += 1
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(order, tie)
print("loss", loss.item())
sha = hashlib.sha256(bytes(order))
for p in model.parameters():
    sha.update(p.detach().numpy().tobytes())
    sha.update(optimizer.state[p]["square_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
