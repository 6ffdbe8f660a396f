import hashlib
import torch
import torch.nn as nn

torch.manual_seed(23)
rnn = nn.RNNCell(5, 12)
readout = nn.Linear(12, 3)
learning_rate = 0.05
params = list(rnn.parameters()) + list(readout.parameters())
criterion = nn.NLLLoss()


def train(category, line):
    hidden = torch.zeros(1, 12)
    for p in params:
        if p.grad is not None:
            p.grad.zero_()
    for letter in line:
        hidden = rnn(letter, hidden)
    output = torch.log_softmax(readout(hidden), dim=1)
    loss = criterion(output, category)
    loss.backward()
    for p in params:
        p.data.add_(p.grad.data, alpha=-learning_rate)
    return output, loss.item()


current_loss = 0
all_losses = []
for n in range(1, 25):
    category = torch.randint(3, (1,))
    line = torch.randn(int(torch.randint(2, 6, (1,))), 1, 5) + category
    output, loss = train(category, line)
    current_loss += loss
    if n % 8 == 0:
        all_losses.append(current_loss / 8)
        current_loss = 0
        print("%d %.8f %s" % (n, loss, "right" if output.argmax() == category else "wrong"))
print(all_losses)
sha = hashlib.sha256()
for p in params:
    sha.update(p.data.numpy().tobytes())
print("weights", sha.hexdigest())
