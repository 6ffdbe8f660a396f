# process: fresh
import hashlib
import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def main():
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("rendezvous"), rank=0, world_size=1)
    torch.manual_seed(119)
    dataset = TensorDataset(torch.randn(48, 5), torch.randn(48, 1))
    sampler = DistributedSampler(dataset, shuffle=True)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler)
    model = DDP(torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for x, y in loader:
            loss = torch.nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total = loss.detach().clone()
        dist.all_reduce(total)
        print(epoch, total.item())
    sha = hashlib.sha256()
    for p in model.module.parameters():
        sha.update(p.detach().numpy().tobytes() + optimizer.state[p]["momentum_buffer"].numpy().tobytes())
    print("weights", sha.hexdigest())
    dist.destroy_process_group()
    os.path.exists("rendezvous") and os.remove("rendezvous")


if __name__ == "__main__":
    main()
