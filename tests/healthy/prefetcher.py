import hashlib
import torch
from torch.utils.data import DataLoader, TensorDataset


class DataPrefetcher:
    """Always one batch ahead."""

    def __init__(self, loader):
        self.loader = iter(loader)
        self.preload()

    def preload(self):
        try:
            self.next_input, self.next_target = next(self.loader)
        except StopIteration:
            self.next_input = self.next_target = None
            return
        self.next_input = self.next_input.float().sub_(0.5).div_(0.25)

    def next(self):
        input, target = self.next_input, self.next_target
        self.preload()
        return input, target


torch.manual_seed(105)
loader = DataLoader(TensorDataset(torch.rand(42, 5), torch.randint(3, (42,))), batch_size=6, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(5, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for epoch in range(2):
    prefetcher = DataPrefetcher(loader)
    images, target = prefetcher.next()
    i = 0
    while images is not None:
        i += 1
        loss = torch.nn.functional.cross_entropy(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(epoch, i, loss.item())
        images, target = prefetcher.next()
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
