import hashlib
import torch

torch.manual_seed(109)
T = 20
betas = torch.linspace(1e-3, 0.2, T)
alphas_bar = torch.cumprod(1 - betas, 0)
points = torch.stack([torch.cos(torch.arange(64.0)), torch.sin(torch.arange(64.0))], 1)
sampler = torch.Generator().manual_seed(3)


class Denoiser(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.time = torch.nn.Embedding(T, 8)
        self.net = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.SiLU(), torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(32, 32)), torch.nn.SiLU(), torch.nn.Linear(32, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], 1))


model = Denoiser()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
global_step = 0
for epoch in range(3):
    for x0 in points[torch.randperm(64, generator=sampler)].chunk(6):
        t = torch.randint(T, (len(x0),), generator=sampler)
        noise = torch.randn_like(x0)
        ab = alphas_bar[t].unsqueeze(1)
        predicted = model(ab.sqrt() * x0 + (1 - ab).sqrt() * noise, t)
        loss = torch.nn.functional.mse_loss(predicted, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        global_step += 1
    print(epoch, global_step, loss.item())
sha = hashlib.sha256(sampler.get_state().numpy().tobytes())
for v in model.state_dict().values():
    sha.update(v.numpy().tobytes())
for s in optimizer.state.values():
    sha.update(s["exp_avg"].numpy().tobytes())
print("weights", sha.hexdigest())
