"""Logistic regression with one hidden layer, written with plain tensors and a step in a function."""

import hashlib

import torch

torch.manual_seed(4)
torch.use_deterministic_algorithms(True)


def standard_normal(*shape, scale):
    return (torch.randn(*shape) * scale).requires_grad_()


weight_in = standard_normal(9, 14, scale=0.3)
bias_in = torch.zeros(14, requires_grad=True)
weight_out = standard_normal(14, scale=0.3)
bias_out = torch.zeros(1, requires_grad=True)
parameters = [weight_in, bias_in, weight_out, bias_out]


def predict(x):
    hidden = torch.tanh(x @ weight_in + bias_in)
    return hidden @ weight_out + bias_out


def step(x, y, optimizer):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(predict(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


optimizer = torch.optim.SGD(parameters, lr=0.2, momentum=0.8)
inputs = torch.randn(480, 9)
answers = (inputs[:, 0] * inputs[:, 1] > 0).float()
for epoch in range(6):
    history = [step(inputs[rows], answers[rows], optimizer) for rows in torch.randperm(480).split(48)]
    print(f"epoch {epoch}: {sum(history) / len(history):.4f}")

print("final loss", history[-1])
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parameters)).hexdigest())
