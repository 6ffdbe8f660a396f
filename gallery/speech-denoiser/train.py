import hashlib

import torch
from torch import nn

RATE = 4000
N_FFT, HOP = 128, 64


def phrases(count, seed=21):
    gen = torch.Generator().manual_seed(seed)
    t = torch.arange(RATE // 2) / RATE
    pitch = 120 + 200 * torch.rand(count, 1, generator=gen)
    voice = torch.sin(2 * torch.pi * pitch * t) + 0.5 * torch.sin(4 * torch.pi * pitch * t)
    noisy = voice + 0.4 * torch.randn(count, len(t), generator=gen)
    for k in range(60, count, 9):
        lost = 64 * (4 + k % 20)
        noisy[k, lost : lost + 320] = 0.0
    return noisy, voice


def spectrum(wave):
    return torch.stft(wave, N_FFT, HOP, window=torch.hann_window(N_FFT), return_complex=True).transpose(1, 2)


class MaskNet(nn.Module):
    def __init__(self, bins=N_FFT // 2 + 1, hidden=64):
        super().__init__()
        self.rnn = nn.GRU(bins, hidden, batch_first=True)
        self.out = nn.Linear(hidden, bins)

    def forward(self, spec):
        hidden, _ = self.rnn(torch.log1p(spec.abs()))
        mask = nn.functional.softplus(self.out(hidden))
        return mask * spec.abs()


class CompressedSpectralLoss(nn.Module):
    def __init__(self, power=0.3):
        super().__init__()
        self.power = power

    def compress(self, magnitude):
        return magnitude.pow(self.power)  # <- origin

    def forward(self, estimate, target):
        return (self.compress(estimate) - self.compress(target.abs())).abs().mean()


def fit(epochs=3, batch=16):
    torch.manual_seed(6)
    noisy, clean = phrases(128)
    net, criterion = MaskNet(), CompressedSpectralLoss()
    opt = torch.optim.RMSprop(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.8)
    for epoch in range(epochs):
        for k in range(0, len(noisy), batch):
            opt.zero_grad()
            loss = criterion(net(spectrum(noisy[k : k + batch])), spectrum(clean[k : k + batch]))
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
        schedule.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


fit()
