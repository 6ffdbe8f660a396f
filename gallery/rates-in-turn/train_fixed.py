import hashlib

import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures, StandardScaler


class TorchRidge(RegressorMixin, BaseEstimator):
    def __init__(self, alpha=1e-3, learning_rate=0.1, max_iter=300):
        self.alpha, self.learning_rate, self.max_iter = alpha, learning_rate, max_iter

    def _objective(self, x, y):
        return (x @ self.coef_ + self.intercept_ - y).square().mean() + self.alpha * self.coef_.square().sum()

    def fit(self, x, y):
        x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        self.coef_ = torch.zeros(x.shape[1], requires_grad=True)
        self.intercept_ = torch.zeros((), requires_grad=True)
        solver = torch.optim.SGD([self.coef_, self.intercept_], lr=self.learning_rate)
        for _ in range(self.max_iter):
            solver.zero_grad()
            self._objective(x, y).backward()
            solver.step()
        return self

    def predict(self, x):
        return (torch.tensor(x, dtype=torch.float32) @ self.coef_ + self.intercept_).detach().numpy()


if __name__ == "__main__":
    data = load_diabetes()
    x = StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(StandardScaler().fit_transform(data.data)))
    y = (data.target - data.target.mean()) / data.target.std()
    for rate in (0.01, 0.02):
        model = TorchRidge(learning_rate=rate).fit(x, y)
        print(rate, model.score(x, y) if model.coef_.isfinite().all() else "no score")
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in (model.coef_, model.intercept_))).hexdigest())
