from torch import nn


def dense(inner, outer):
    layer = nn.Linear(inner, outer)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def column(widths, activation=nn.ReLU):
    """A plain stack of dense layers with an activation between any two of them."""
    parts = []
    for inner, outer in zip(widths, widths[1:]):
        parts += [dense(inner, outer), activation()]
    return nn.Sequential(*parts[:-1])
