"""The exporter of the old tool: a header of four integers, then weights and biases layer by layer."""
import struct

import numpy as np

MAGIC = 0x4D4C5031


def write_weights(path, network):
    with open(path, "wb") as out:
        out.write(struct.pack(">4i", MAGIC, 1, len(network.coefs_), 0))
        for weight, bias in zip(network.coefs_, network.intercepts_):
            out.write(weight.astype(">f4").tobytes())
            out.write(bias.astype(">f4").tobytes())
