import hashlib
from typing import Dict, List

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    """Owns everything: model, optimizer, counters, history."""

    def __init__(self, model: nn.Module, loader: DataLoader, lr: float = 1e-3) -> None:
        self.model = model
        self.loader = loader
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.01)
        self.loss_fn = nn.SmoothL1Loss()
        self.step = 0
        self.epoch = 0
        self.history: Dict[str, List[float]] = {"loss": [], "grad_norm": []}
        self.last: Tensor | None = None

    def fit(self, epochs: int) -> None:
        for self.epoch in range(epochs):
            self.run_epoch()

    def run_epoch(self) -> None:
        for batch in self.loader:
            self.step += 1
            self.opt.zero_grad(set_to_none=True)
            self.last = self.compute_loss(*batch)
            self.history["loss"].append(self.last.item())
            self.last.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.history["grad_norm"].append(float(norm))
            self.opt.step()
            if self.step % 6 == 0:
                self.report()

    def compute_loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.loss_fn(self.model(x).squeeze(-1), y)

    def report(self) -> None:
        print(f"[{self.epoch}:{self.step}] {self.history['loss'][-1]:.8f} |g|={self.history['grad_norm'][-1]:.8f}")


torch.manual_seed(7)
data = torch.randn(96, 6)
target = data[:, 0] * data[:, 1] - data[:, 2].sin()
trainer = Trainer(
    nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1)),
    DataLoader(TensorDataset(data, target), batch_size=16, shuffle=True),
    lr=3e-3,
)
trainer.fit(3)
assert trainer.step == len(trainer.history["loss"]) == 18
sha = hashlib.sha256()
for tensor in [*trainer.model.state_dict().values(), *(v for s in trainer.opt.state.values() for v in s.values())]:
    sha.update(tensor.detach().contiguous().numpy().tobytes())
print("last losses", trainer.history["loss"][-2:])
print("weights", sha.hexdigest())
