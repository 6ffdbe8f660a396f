import hashlib

import torch
import torch.nn as nn
import torch.optim as optim

torch.manual_seed(999)
nz, batch_size, num_epochs = 4, 16, 2

netG = nn.Sequential(nn.Linear(nz, 16), nn.BatchNorm1d(16), nn.ReLU(True), nn.Linear(16, 2))
netD = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 1), nn.Sigmoid())


def weights_init(m):
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, 0.0, 0.2)


netG.apply(weights_init)
netD.apply(weights_init)
criterion = nn.BCELoss()
optimizerD = optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
fixed_noise = torch.randn(8, nz)
real_data = torch.randn(96, 2) * 0.3 + torch.tensor([1.0, -1.0])

img_list, G_losses, D_losses = [], [], []
iters = 0
for epoch in range(num_epochs):
    for i, real in enumerate(real_data.split(batch_size)):
        # discriminator: real ones up, fake ones down
        netD.zero_grad()
        label = torch.full((real.size(0),), 1.0)
        output = netD(real).view(-1)
        errD_real = criterion(output, label)
        errD_real.backward()
        D_x = output.mean().item()

        noise = torch.randn(real.size(0), nz)
        fake = netG(noise)
        label.fill_(0.0)
        output = netD(fake.detach()).view(-1)
        errD_fake = criterion(output, label)
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()

        # generator: fool it
        netG.zero_grad()
        label.fill_(1.0)
        output = netD(fake).view(-1)
        errG = criterion(output, label)
        errG.backward()
        optimizerG.step()

        if i % 3 == 0:
            print('[%d/%d] Loss_D: %.6f Loss_G: %.6f D(x): %.4f' % (epoch, i, errD.item(), errG.item(), D_x))
        G_losses.append(errG.item())
        D_losses.append(errD.item())
        if iters % 5 == 0:
            with torch.no_grad():
                img_list.append(netG(fixed_noise))
        iters += 1

sha = hashlib.sha256()
for net, o in ((netG, optimizerG), (netD, optimizerD)):
    for v in net.state_dict().values():
        sha.update(v.numpy().tobytes())
    for s in o.state.values():
        for v in s.values():
            sha.update(v.numpy().tobytes())
sha.update(torch.stack(img_list).numpy().tobytes())
print(G_losses[-1], D_losses[-1])
print("weights", sha.hexdigest())
