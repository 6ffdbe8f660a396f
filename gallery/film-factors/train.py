"""Matrix factorisation of film ratings (Koren et al. 2009), full gradient."""
import hashlib
import numpy as np
import torch

USERS, FILMS, RANK = 120, 80, 8
LEARNING_RATE = 0.021  # <- fault
DECAY = 1e-4
ROUNDS = 60


def ratings(rng):
    taste = rng.normal(size=(USERS, 3))
    genre = rng.normal(size=(FILMS, 3))
    table = np.clip(np.round(3.2 + 0.7 * taste @ genre.T + 0.5 * rng.normal(size=(USERS, FILMS))), 1, 5)
    seen = rng.random((USERS, FILMS)) < 0.3
    u, f = np.nonzero(seen)
    return torch.from_numpy(u), torch.from_numpy(f), torch.from_numpy(table[seen]).float()


def predict(P, Q, bu, bf, mu, u, f):
    return mu + bu[u] + bf[f] + (P[u] * Q[f]).sum(1)


def main():
    rng = np.random.default_rng(2009)
    torch.manual_seed(2009)
    u, f, r = ratings(rng)
    mu = r.mean()
    P = (0.1 * torch.randn(USERS, RANK)).requires_grad_()
    Q = (0.1 * torch.randn(FILMS, RANK)).requires_grad_()
    bu = torch.zeros(USERS, requires_grad=True)
    bf = torch.zeros(FILMS, requires_grad=True)
    theta = [P, Q, bu, bf]
    sgd = torch.optim.SGD(theta, lr=LEARNING_RATE, weight_decay=DECAY)
    for k in range(ROUNDS):
        sgd.zero_grad()
        error = predict(P, Q, bu, bf, mu, u, f) - r
        loss = (error ** 2).sum()  # <- origin
        loss.backward()
        sgd.step()
        if k % 3 == 0:
            print("round %2d  rmse %.4g" % (k, (loss.item() / len(r)) ** 0.5))
    print("weights", hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in theta)).hexdigest())


if __name__ == "__main__":
    main()
