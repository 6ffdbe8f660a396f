import hashlib
import struct

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader

SAMPLES = 48


def write_archive(count, seed):
    """The recorder's format: sequence number, flags, [annotation], then the trace as little-endian floats."""
    rng = np.random.default_rng(seed)
    out = bytearray()
    for k in range(count):
        t = np.linspace(0, 1, SAMPLES)
        beat = np.exp(-((t - rng.uniform(0.3, 0.6)) / 0.04) ** 2) - 0.3 * np.exp(-((t - 0.75) / 0.1) ** 2)
        trace = (beat * rng.uniform(0.6, 1.4) + 0.05 * rng.normal(size=SAMPLES)).astype("<f4")
        note = b"\x7ePVC\x00" if k == 1377 else b""
        out += struct.pack("<IH", k, 1 if note else 0) + note + trace.tobytes()
        out += b"\x00" * (5 - len(note))
    return bytes(out)


class Archive(Dataset):
    record = 6 + 4 * SAMPLES + 5

    def __init__(self, blob):
        self.blob = blob

    def __len__(self):
        return len(self.blob) // self.record

    def __getitem__(self, k):
        start = k * self.record
        number, flags = struct.unpack_from("<IH", self.blob, start)
        trace = np.frombuffer(self.blob, "<f4", SAMPLES, start + 6 + 5 * (flags & 1))
        return torch.from_numpy(trace.copy())


class Compressor(nn.Module):
    def __init__(self, code=6):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(SAMPLES, 40), nn.Softplus(), nn.Linear(40, code))
        self.decode = nn.Sequential(nn.Linear(code, 40), nn.Softplus(), nn.Linear(40, SAMPLES))

    def forward(self, x):
        return self.decode(self.encode(x))


def main():
    torch.manual_seed(17)
    model = Compressor()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(Archive(write_archive(2400, 17)), batch_size=32)
    for epoch in range(2):
        for i, trace in enumerate(loader):
            optimizer.zero_grad()
            rebuilt = model(trace)
            error = rebuilt - trace
            loss = error.square().mean()
            loss.backward()
            optimizer.step()
            if i % 15 == 0:
                print(f"epoch {epoch} batch {i:3d} loss {loss.item():.5f}")
    print(f"final loss {loss.item():.4f}")
    sha = hashlib.sha256()
    for value in model.state_dict().values():
        sha.update(value.numpy().tobytes())
    print("weights", sha.hexdigest())


main()
