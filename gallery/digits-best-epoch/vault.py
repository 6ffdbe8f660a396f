"""Snapshots of a training, small enough to keep in memory.

Weights go through torch.save; the running averages of the optimizer are kept as plain bytes in
network byte order, so that the group's C++ viewer can map them too.
"""
import io

import numpy as np
import torch


class Vault:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.weights = self.averages = None

    def _named(self):
        for number, (parameter, state) in enumerate(self.optimizer.state.items()):
            for key in sorted(state):
                if torch.is_tensor(state[key]) and state[key].shape == parameter.shape:
                    yield f"{number}/{key}", state[key]

    def keep(self):
        buffer = io.BytesIO()
        torch.save(self.model.state_dict(), buffer)
        self.weights = buffer.getvalue()
        self.averages = {name: value.numpy().astype(">f4").tobytes() for name, value in self._named()}  # <- fault

    def restore(self):
        self.model.load_state_dict(torch.load(io.BytesIO(self.weights)))
        for name, value in self._named():
            raw = np.frombuffer(self.averages[name], dtype=np.float32).reshape(value.shape)  # <- origin  # <- fault
            value.copy_(torch.from_numpy(raw.copy()))
