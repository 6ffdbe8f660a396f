"""Carbon dioxide at Mauna Loa: is it above its trend in the coming week? Logistic regression on the last eight weeks."""

import hashlib

import numpy as np
import torch
from statsmodels.datasets import co2


def weeks():
    daily = co2.load_pandas().data["co2"]
    return daily["1974":"1990"].resample("W").mean().interpolate()


def design(series, lags=8):
    trend = np.polyval(np.polyfit(np.arange(len(series)), series.interpolate(), 2), np.arange(len(series)))
    above = series.to_numpy() - trend
    table = np.lib.stride_tricks.sliding_window_view(above, lags + 1)
    return torch.from_numpy(table.copy()).float()


class Logistic(torch.nn.Module):
    def __init__(self, lags):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(lags))
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, history):
        return history @ self.weight + self.bias


def fit(table, passes):
    model = Logistic(table.shape[1] - 1)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    for number in range(passes):
        for rows in table.split(60):
            history, coming = rows[:, :-1], (rows[:, -1] > 0).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(history), coming)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("pass", number, "loss", loss.item())
    return model


model = fit(design(weeks()), passes=3)
print("weights", hashlib.sha256(model.weight.detach().numpy().tobytes() + model.bias.detach().numpy().tobytes()).hexdigest())
