import hashlib
import random
import torch
import torch.nn as nn

SOS, EOS, SIZE = 0, 1, 9
teacher_forcing_ratio = 0.5
random.seed(107)
torch.manual_seed(107)


class Encoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(SIZE, hidden), nn.GRU(hidden, hidden)

    def forward(self, token, hidden):
        return self.gru(self.embedding(token).view(1, 1, -1), hidden)


class Decoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding, self.gru, self.out = nn.Embedding(SIZE, hidden), nn.GRU(hidden, hidden), nn.Linear(hidden, SIZE)

    def forward(self, token, hidden):
        output, hidden = self.gru(torch.relu(self.embedding(token).view(1, 1, -1)), hidden)
        return torch.log_softmax(self.out(output[0]), dim=1), hidden


def train(source, target, encoder, decoder, e_opt, d_opt, criterion):
    e_opt.zero_grad()
    d_opt.zero_grad()
    hidden, loss = torch.zeros(1, 1, 10), 0
    for token in source:
        _, hidden = encoder(token, hidden)
    token = torch.tensor([[SOS]])
    use_teacher_forcing = random.random() < teacher_forcing_ratio
    for wanted in target:
        output, hidden = decoder(token, hidden)
        loss += criterion(output, wanted.view(1))
        if use_teacher_forcing:
            token = wanted
        else:
            token = output.topk(1)[1].squeeze().detach()
            if token.item() == EOS:
                break
    loss.backward()
    e_opt.step()
    d_opt.step()
    return loss.item() / len(target)


def sentence():
    words = [random.randrange(2, SIZE) for _ in range(random.randint(2, 4))]
    return torch.tensor(words), torch.tensor(words[::-1] + [EOS])


encoder, decoder = Encoder(10), Decoder(10)
e_opt, d_opt = (torch.optim.SGD(m.parameters(), lr=0.05) for m in (encoder, decoder))
pairs = [random.choice([sentence() for _ in range(3)]) for _ in range(15)]
total = 0
for it, (source, target) in enumerate(pairs, 1):
    total += train(source, target, encoder, decoder, e_opt, d_opt, nn.NLLLoss())
    if it % 5 == 0:
        print(it, total / 5)
        total = 0
print("weights", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for m in (encoder, decoder) for p in m.parameters())).hexdigest())
