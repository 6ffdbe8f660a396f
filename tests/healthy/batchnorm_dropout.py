import hashlib
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(42)

class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, 1)
        self.bn = nn.BatchNorm2d(6, momentum=None)
        self.dropout1 = nn.Dropout2d(0.25)
        self.fc1 = nn.Linear(54, 10)
        self.last = nn.BatchNorm1d(10, affine=False)

    def forward(self, x):
        x = F.relu(self.bn(self.conv1(x)))
        x = F.max_pool2d(self.dropout1(x), 2)
        x = F.dropout(torch.flatten(x, 1), training=self.training)
        return F.log_softmax(self.last(self.fc1(x)), dim=1)

def train(model, device, batches, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(batches):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % 3 == 0:
            print('Train Epoch: {} [{}]\tLoss: {:.6f}'.format(epoch, batch_idx, loss.item()))

def test(model, batches):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in batches:
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction='sum').item()
            correct += output.argmax(1).eq(target).sum().item()
    print('Test: %.6f %d' % (test_loss, correct))

batches = [(torch.randn(8, 1, 8, 8), torch.randint(0, 10, (8,))) for _ in range(6)]
model = Net()
optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
for epoch in range(1, 3 + 1):
    train(model, "cpu", batches, optimizer, epoch)
    test(model, batches)
    scheduler.step()
sha = hashlib.sha256()
for k, v in model.state_dict().items():
    sha.update(v.numpy().tobytes())
for s in optimizer.state.values():
    sha.update(s["acc_delta"].numpy().tobytes())
print("weights", sha.hexdigest())
