import hashlib
import torch
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(37)
    loader = DataLoader(TensorDataset(torch.randn(48, 4), torch.randn(48, 1)), batch_size=12, shuffle=True)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    swa_model = AveragedModel(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    swa_start = 3
    swa_scheduler = SWALR(optimizer, swa_lr=0.02, anneal_epochs=2)
    for epoch in range(6):
        for x, y in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        if epoch > swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
        print(epoch, loss.item(), optimizer.param_groups[0]["lr"])
    update_bn(loader, swa_model)
    sha = hashlib.sha256()
    for net in (model, swa_model):
        for value in net.state_dict().values():
            sha.update(value.numpy().tobytes())
    print("weights", sha.hexdigest())


main()
