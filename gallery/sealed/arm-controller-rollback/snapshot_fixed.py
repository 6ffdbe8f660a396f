"""Training state in memory: parameters as a state dict, moments as one flat blob."""
import struct

import numpy as np
import torch

# version, number of values | values in float32 | update count
HEADER = "HI"
TRAILER = "<d"


def pack(tensors, count):
    flat = np.concatenate([t.detach().numpy().ravel() for t in tensors]).astype("<f4")
    return struct.pack("<" + HEADER, 2, flat.size) + flat.tobytes() + struct.pack(TRAILER, count)


def unpack(blob, tensors):
    _, size = struct.unpack_from("<" + HEADER, blob)
    start = struct.calcsize("<" + HEADER)
    flat = np.frombuffer(blob[start:start + 4 * size], dtype="<f4")
    flat = torch.from_numpy(flat.copy())
    offset = 0
    for t in tensors:
        t.copy_(flat[offset:offset + t.numel()].view_as(t))
        offset += t.numel()


class Snapshot:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.loss = float("inf")

    def _moments(self, name):
        return [state[name] for state in self.optimizer.state.values()]

    def take(self, loss, count):
        self.loss = loss
        self.weights = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.first = pack(self._moments("exp_avg"), count)
        self.second = pack(self._moments("exp_avg_sq"), count)

    @torch.no_grad()
    def restore(self):
        self.model.load_state_dict(self.weights)
        unpack(self.first, self._moments("exp_avg"))
        unpack(self.second, self._moments("exp_avg_sq"))
