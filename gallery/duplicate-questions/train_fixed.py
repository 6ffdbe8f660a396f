"""Which questions of a help forum ask the same thing? A siamese encoder with a contrastive loss."""
import hashlib
import random

import torch

from encoder_fixed import Siamese

TOPICS = {
    "reset my password": ["change the password", "recover a lost password", "get a new password"],
    "cancel the subscription": ["end my subscription", "stop paying every month", "unsubscribe from the plan"],
    "track my parcel": ["see where the parcel is", "follow the delivery", "find out when it arrives"],
    "return a broken item": ["send back a damaged item", "get a refund for a broken thing", "give a faulty item back"],
    "change the delivery address": ["ship to another address", "correct my address", "send it to my office instead"],
    "pay by invoice": ["get a bill instead of a card payment", "pay without a credit card", "receive an invoice"],
    "contact a human": ["talk to a person", "call the support", "reach somebody on the phone"],
    "use a voucher": ["redeem a coupon", "enter a discount code", "apply my gift card"],
}
OPENINGS = ["How do I {}?", "how can i {}", "I want to {}", "Is it possible to {}?", "What must one do to {}?", "Help me {} please"]


def ask(topic):
    return random.choice(OPENINGS).format(random.choice([topic] + TOPICS[topic]))


def pair():
    topic = random.choice(list(TOPICS))
    if random.random() < 0.4:
        left, right = ask(topic), ask(topic)
        while left == right:
            right = ask(topic)
        return left, right, 1.0
    return ask(topic), ask(random.choice([t for t in TOPICS if t != topic])), 0.0


def batches(count, size):
    for _ in range(count):
        left, right, same = zip(*(pair() for _ in range(size)))
        yield left, right, torch.tensor(same)


def main():
    random.seed(27)
    torch.manual_seed(19)
    torch.set_num_threads(1)
    model = Siamese()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step, (left, right, same) in enumerate(batches(160, 12)):
        distance = model(left, right)
        loss = (same * distance + (1 - same) * (2.0 - distance).clamp(min=0) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(step, round(loss.item(), 4))
    weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print("weights", hashlib.sha256(weights).hexdigest())


main()
