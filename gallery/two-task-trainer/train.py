"""Two properties of a steel from its composition, learned together. The trainer calls back after each step and epoch."""

import torch

from tasks import Alloys, EarlyStop, History, Trainer, TwoHeads

if __name__ == "__main__":
    torch.manual_seed(6)
    history = History()
    trainer = Trainer(TwoHeads(), callbacks=[history, EarlyStop(patience=3)])
    trainer.fit(Alloys(rows=640, seed=5), epochs=4, batch_size=16)
    print("final loss", history.losses[-1])
    print("weights", trainer.digest())
