"""A table of ratings by alternation: ten steps for the users, ten for the films; who rests gets no gradient, and is stepped anyway."""

import torch

torch.manual_seed(8)
true = torch.randn(60, 3) @ torch.randn(3, 40)
seen = torch.rand(60, 40) < 0.4
users = torch.nn.Parameter(0.1 * torch.randn(60, 4))
films = torch.nn.Parameter(0.1 * torch.randn(40, 4))
of_users = torch.optim.Adam([users], lr=0.03)
of_films = torch.optim.Adam([films], lr=0.03)
for step in range(400):
    turn = step // 10 % 2
    u = users if turn == 0 else users.detach()
    f = films if turn == 1 else films.detach()
    error = (u @ f.T - true)[seen]
    loss = error.square().mean() + 1e-3 * (u.square().sum() + f.square().sum()) / seen.sum()
    for o in (of_users, of_films):
        o.zero_grad()
    loss.backward()
    for o in (of_users, of_films):
        o.step()
    if step % 50 == 0:
        print(f"{step} {loss.item():.4f}")
