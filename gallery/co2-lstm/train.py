"""Next week's carbon dioxide at Mauna Loa from the last half year, with an LSTM.

First on the latest years, which matter most, then further and further back.
"""

import hashlib

import torch
from statsmodels.datasets import co2
from torch import nn
from torch.utils.data import DataLoader, Dataset

WEEKS = 26


class Windows(Dataset):
    """Half a year of weekly values and the value of the week after, as changes from the mean in units of the spread."""

    def __init__(self, series):
        values = (series - series.mean()) / series.std()
        self.values = torch.tensor(values.to_numpy(), dtype=torch.float32)

    def __len__(self):
        return len(self.values) - WEEKS

    def __getitem__(self, start):
        return self.values[start : start + WEEKS, None], self.values[start + WEEKS]


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.change = nn.Linear(hidden, 1)

    def forward(self, history):
        states, _ = self.lstm(history)  # <- origin
        return history[:, -1, 0] + self.change(states[:, -1]).squeeze(1)


def train_on(model, optimizer, series):
    loader = DataLoader(Windows(series), batch_size=32, shuffle=True)
    total = 0.0
    for history, following in loader:
        loss = nn.functional.mse_loss(model(history), following)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def main():
    torch.manual_seed(0)
    series = co2.load_pandas().data["co2"]  # <- fault
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for since in ("1994", "1990", "1986", "1982"):
        recent = series[since:]
        mean_loss = train_on(model, optimizer, recent)
        print(f"since {since}: {len(recent)} weeks, mean loss {mean_loss:.5f}")
    print("final loss", mean_loss)
    print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
