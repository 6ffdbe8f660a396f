"""A home-made trainer with callbacks, in the manner of the big ones."""
import hashlib
from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Callback:
    def on_fit_start(self, trainer): ...
    def on_before_step(self, trainer): ...
    def on_batch_end(self, trainer, loss): ...
    def on_epoch_end(self, trainer): ...


class Module(nn.Module, ABC):
    @abstractmethod
    def training_step(self, batch, batch_idx): ...

    @abstractmethod
    def configure_optimizers(self): ...

    def log(self, name, value):
        self.trainer.logged.setdefault(name, []).append(float(value.detach() if torch.is_tensor(value) else value))


class Trainer:
    def __init__(self, max_epochs, callbacks=(), clip=None):
        self.max_epochs, self.callbacks, self.clip = max_epochs, list(callbacks), clip
        self.logged, self.global_step, self.should_stop = {}, 0, False

    def call(self, hook, *args):
        for callback in self.callbacks:
            getattr(callback, hook)(self, *args)

    def fit(self, module, loader):
        self.module, module.trainer = module, self
        (self.optimizer,), (self.scheduler,) = module.configure_optimizers()
        self.call("on_fit_start")
        for self.epoch in range(self.max_epochs):
            for batch_idx, batch in enumerate(loader):
                loss = self.run_batch(batch, batch_idx)
                self.call("on_batch_end", loss)
                if self.should_stop:
                    return
            self.scheduler.step()
            self.call("on_epoch_end")

    def run_batch(self, batch, batch_idx):
        loss = self.module.training_step(batch, batch_idx)
        self.optimizer.zero_grad()
        loss.backward()
        self.call("on_before_step")
        if self.clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        self.optimizer.step()
        self.global_step += 1
        return loss.item()


class Printer(Callback):
    def on_epoch_end(self, trainer):
        print(trainer.epoch, {k: v[-1] for k, v in trainer.logged.items()})


class GradientWatch(Callback):
    def on_before_step(self, trainer):
        trainer.module.log("grad", sum(p.grad.square().sum() for p in trainer.module.parameters()).sqrt())


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, loss):
        trainer.should_stop = trainer.global_step >= self.step


class Autoencoder(Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 2), nn.Linear(2, 6)

    def training_step(self, batch, batch_idx):
        (x,) = batch
        loss = nn.functional.mse_loss(self.decoder(self.encoder(x + 0.1 * torch.randn_like(x))), x)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)]


torch.manual_seed(111)
trainer = Trainer(4, [GradientWatch(), Printer(), StopAt(17)], clip=0.5)
model = Autoencoder()
trainer.fit(model, DataLoader(TensorDataset(torch.randn(40, 6)), batch_size=8, shuffle=True))
print(trainer.global_step, len(trainer.logged["grad"]), trainer.logged["loss"][-1])
digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
    digest.update(trainer.optimizer.state[p]["exp_avg"].numpy().tobytes())
print("weights", digest.hexdigest())
