import hashlib
import torch

torch.manual_seed(76)
kernel = torch.nn.Parameter(torch.randn(8, dtype=torch.complex64) / 4)
gain = torch.nn.Parameter(torch.ones(()))
truth = torch.fft.fft(torch.tensor([0.5, 0.3, 0.1, 0, 0, 0, 0, 0.1]))
opt = torch.optim.Adam([kernel, gain], lr=0.03)
for k in range(20):
    signal = torch.randn(5, 8)
    seen = torch.fft.ifft(torch.fft.fft(signal) * truth).real
    guess = gain * torch.fft.ifft(torch.fft.fft(signal) * kernel).real
    loss = torch.mean((seen - guess) ** 2)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if k % 6 == 1:
        print(k, loss.item(), kernel[0].item())
sha = hashlib.sha256(kernel.detach().numpy().tobytes() + gain.detach().numpy().tobytes())
sha.update(opt.state[kernel]["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
