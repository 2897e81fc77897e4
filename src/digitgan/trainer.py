"""`Trainer`: the training loop and one training step, from top to bottom.

Random numbers depend on the seed and the step's number alone: a resumed run gives the same bits.
"""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .bounds import whole_number
from .data.batches import Batches
from .data.digits import Digits, check_labels
from .data.randomness import random_seed
from .errors import InvalidInputError
from .hyperparameters import Hyperparameters
from .losses import LOSSES, one_stage_generator_gradient, r1_r2_penalty
from .models import Discriminator, Generator, build, from_pixels, sample, sample_rows
from .runs.averaging import AveragedNetwork
from .runs.console import on_interrupt, progress_bar
from .runs.run import TRAINERS, Run
from .runs.torch_modes import ordinary_torch

PROGRESS_ROWS = 8  # of the pictures after each epoch: one latent writes the ten digits of a row
Metrics = dict[str, Tensor]
DiscriminatorStep = tuple[Metrics, Tensor, Tensor]  # metrics, logits of real and of fake images
Callback = Callable[["Trainer"], Any]


class Trainer(Run):
    """Trains the networks that `hyperparameters` describe. It writes below `run_dir`, in `train()`.

    `generator` and `discriminator` are the networks as trained; `averaged` holds the generator with
    averaged (EMA) weights, the one that samples. `data_dir`: where a data set other than the
    repository's MNIST lies. `digits`: one's own images in its place, all that `as_sets` takes.

    In several processes (torchrun), each takes its part of every batch and gradients are averaged:
    the same training as in one, up to the order of sums, but for BatchNorm and dropout.
    """

    @ordinary_torch()
    def __init__(
        self,
        hyperparameters: Hyperparameters | None = None,
        run_dir: str | Path = "runs/run",
        data_dir: str | Path | None = None,
        digits: Any = None,
    ) -> None:
        super().__init__(hyperparameters or Hyperparameters(), run_dir, data_dir, digits)
        self.losses = LOSSES[self.hyperparameters.loss]  # (discriminator's, generator's)
        self.start_over()

    def start_over(self) -> None:
        """Forget all training."""
        self.generator, self.discriminator = self.build_networks()
        self.averaged = AveragedNetwork(self.generator)
        self.g_optimizer, self.d_optimizer = self.build_optimizers()
        self.step, self.history = 0, []
        self.metrics.reset()

    def build_networks(self) -> tuple[Generator, Discriminator]:
        """The untrained networks, their weights drawn with the run's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.hyperparameters.seed)
            generator, discriminator = build(self.hyperparameters, self.spec)
        return generator.to(self.device), discriminator.to(self.device)

    def build_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """(the generator's, the discriminator's): Adam, arXiv 1412.6980."""
        hp = self.hyperparameters
        rates = (self.generator, hp.generator_lr), (self.discriminator, hp.discriminator_lr)
        betas = hp.beta1, hp.beta2
        g, d = (torch.optim.Adam(n.parameters(), lr, betas, fused=True) for n, lr in rates)
        return g, d

    # ---- one step: the method ----

    @ordinary_torch()
    def train_step(self, pixels: Tensor, y: Tensor) -> Metrics:
        """One update of both networks, on real images uint8 (B, 28, 28) with labels (B,).

        Returns losses, mean logits and penalty as scalars on the device: nothing waits for them.
        """
        real = self.to_images(pixels)  # (B, 1, 28, 28)
        if self.hyperparameters.updates == "one-stage":
            metrics = self.update_both(real, y)
        else:
            metrics = self.update_discriminator(real, y) | self.update_generator(real, y)
        self.averaged.update(self.generator, self.ema_alpha())
        self.step += 1
        return {name: value.detach() for name, value in metrics.items()}

    def update_discriminator(self, real: Tensor, y: Tensor) -> Metrics:
        """Minimise L_D: tell each real image from the generated one it is paired with."""
        with torch.no_grad():
            fake = self.generate(y)  # (B, 1, 28, 28)
        metrics, _, _ = self.discriminator_step(real, fake.float(), y)
        return metrics

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        """Minimise L_G: new generated images, judged by the updated discriminator."""
        self.discriminator.requires_grad_(False)
        real_logits = torch.zeros(())
        with self.autocast():
            real, fake = self.augment(real, self.generate(y))
            if self.hyperparameters.loss == "relativistic":  # only pairs need the real images again
                with torch.no_grad():
                    real_logits = self.discriminator(real, y)  # (B,)
            fake_logits = self.discriminator(fake, y)  # (B,)
        loss = self.losses[1](real_logits, fake_logits)
        self.optimise(self.g_optimizer, loss)
        self.discriminator.requires_grad_(True)
        return {"generator_loss": loss}

    def update_both(self, real: Tensor, y: Tensor) -> Metrics:
        """Minimise L_D and L_G by one pass of D, both at its weights before the step
        (one-stage)."""
        made = self.generate(y)  # (B, 1, 28, 28), with the generator's graph
        fake = made.detach().float().requires_grad_()
        metrics, real_logits, fake_logits = self.discriminator_step(real, fake, y)
        logits, gradient = (real_logits, fake_logits), cast(Tensor, fake.grad)  # dL_D/dfake
        loss, gradient = one_stage_generator_gradient(self.losses, *logits, gradient)  # dL_G/dfake
        self.optimise(self.g_optimizer, made, gradient.to(made.dtype))
        return metrics | {"generator_loss": loss}

    def discriminator_step(self, real: Tensor, fake: Tensor, y: Tensor) -> DiscriminatorStep:
        """One step of D; leaves dL_D/dfake, free of penalties, in the caller's `fake.grad`."""
        real, fake = self.augment(real, fake)
        with self.autocast():
            real_logits, classes = self.discriminator.logits_and_classes(real, y)  # (B,), (B, 10)
            fake_logits, _ = self.discriminator.logits_and_classes(fake, y)  # (B,)
        loss = self.losses[0](real_logits, fake_logits)
        regulariser, penalty = self.regularise(real, fake, classes, y)
        self.optimise(self.d_optimizer, loss + regulariser)
        logits = {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        return {"discriminator_loss": loss, "penalty": penalty} | logits, real_logits, fake_logits

    def regularise(
        self, real: Tensor, fake: Tensor, classes: Tensor | None, y: Tensor
    ) -> tuple[Tensor | float, Tensor]:
        """Additions to L_D, aux_weight * L_aux + interval * gamma * penalty; the penalty, or 0."""
        hp = self.hyperparameters
        total: Tensor | float = 0.0
        penalty = torch.zeros((), device=self.device)
        if hp.aux_weight and classes is not None:  # on real images alone
            total = self.scheduled(hp.aux_weight, hp.aux_weight_end) * cross_entropy(classes, y)
        if hp.gamma and self.step % hp.penalty_interval == 0:
            with self.autocast():
                penalty = self.penalty(real, fake, y)
            weight = self.scheduled(hp.gamma, hp.gamma_end) * hp.penalty_interval
            total = total + weight * penalty
        return total, penalty.detach()

    # ---- what a system in `systems/` may override, beside the losses and the networks ----

    def to_images(self, pixels: Tensor) -> Tensor:
        """Real images for the discriminator: uint8 (B, 28, 28) -> float32 (B, 1, 28, 28)."""
        return from_pixels(pixels)

    def generate(self, y: Tensor) -> Tensor:
        """Generated images (B, 1, 28, 28) of the labels y, from new latents."""
        self.set_mode()
        z = self.generator.draw_latents(len(y) * self.processes.count)  # of all processes
        z = self.processes.shard(z).to(self.device, non_blocking=True)
        with self.autocast():
            return self.generator(z, y)

    def set_mode(self) -> None:
        """The generator in train mode, before each use in training."""
        self.generator.train()

    def penalty(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """The gradient penalty that gamma weights, a scalar."""
        return r1_r2_penalty(self.discriminator, real, fake, y)

    def augment(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Both batches, moved alike by a random shift of at most `augment_shift` pixels."""
        if not (most := self.hyperparameters.augment_shift):
            return real, fake
        down_and_right = torch.randint(-most, most + 1, (2,)).tolist()
        return real.roll(down_and_right, (2, 3)), fake.roll(down_and_right, (2, 3))

    def scheduled(self, start: float, end: float) -> float:
        """A value of this step, between its start and its end along the schedule."""
        if self.hyperparameters.schedule == "constant":
            return start
        progress = min(1.0, self.step / max(1, self.total_steps))
        decay = (1 + math.cos(math.pi * progress)) / 2  # 1 -> 0
        return end + (start - end) * decay

    def optimise(
        self, optimizer: torch.optim.Optimizer, output: Tensor, gradient: Tensor | None = None
    ) -> None:
        """Adam's step at the scheduled rate, from a loss, or an output and a gradient there."""
        optimizer.zero_grad()
        output.backward(gradient)
        (group,) = optimizer.param_groups
        self.processes.average_gradients(group["params"])
        group["lr"] = self.scheduled(optimizer.defaults["lr"], 0.0)
        optimizer.step()

    def ema_alpha(self) -> float:
        """How far the averaged weights move towards the current ones in this step, 0..1."""
        hp = self.hyperparameters
        half_life = min(hp.ema_half_life, hp.ema_ramp * self.images_seen)  # in images
        return 1 - 0.5 ** (self.batch_size / half_life) if half_life else 1.0

    # ---- the run ----

    @ordinary_torch()
    def train(self, callback: Callback | None = None) -> list[dict[str, float]]:
        """Train to the last epoch, from the folder's last checkpoint if it has one.

        Returns the history, one dict per epoch: mean losses and logits, seconds, images per second.
        `callback(trainer)` is called at the start and after each epoch. Ctrl-C, the notebook's stop
        button and `stop()` end the run after the current step, with a whole checkpoint. Raises
        `RunFolderError` where the folder holds another run, is in use or cannot be written,
        `TrainingDivergedError`, and `InvalidInputError` for data that cannot be used.
        """
        call = callback or (lambda trainer: None)
        batches = self.load_batches()
        main, folder = self.processes.is_main, self.folder
        with folder.telling_os_errors(), folder.locked() if main else contextlib.nullcontext():
            found = self.restore()
            bar = progress_bar(main, total=self.total_steps, initial=self.step, unit="step")
            board = folder.tensorboard(self.step + found) if main else contextlib.nullcontext()
            with bar, board, on_interrupt(self.stop), torch.random.fork_rng():
                if not found:
                    self.save_epoch(batches.digits)  # of the untrained networks
                call(self)
                while self.step < self.total_steps and not self.processes.any(self.stopping):
                    self.timed_step(batches)
                    bar.update()
                    if self.step % self.steps_per_epoch == 0:
                        self.end_epoch(batches.digits)
                        call(self)
                self.end_run()
        return self.history

    def timed_step(self, batches: Batches) -> None:
        """The next step, its random numbers and its images decided by the seed and its number."""
        wall, cpu = time.perf_counter(), time.process_time()
        torch.manual_seed(random_seed(self.hyperparameters.seed, self.step))
        pixels, y = batches.load(self.processes.shard(batches.rows(self.step)))
        metrics = self.train_step(pixels, y)
        cpu = (time.process_time() - cpu) * self.processes.count  # of all of them
        self.metrics.add(metrics, time.perf_counter() - wall, cpu)
        self.check_divergence()

    def test(self, num: int = 30, label: int | None = None, seed: int = 0) -> Digits:
        """`num` digits of the averaged generator: labels 0, 1, ..., 9, 0, ..., or all `label`."""
        num = whole_number("num", num)
        if label is not None and not self.hyperparameters.conditional:
            raise InvalidInputError(f"label = {label!r}: must be None, without labels in training")
        classes = len(self.spec.classes)
        labels = np.arange(num) % classes if label is None else [label] * num
        return sample(self.averaged.module, check_labels(labels, classes=classes), seed=seed)

    def progress(self) -> Digits:
        """The run's fixed latents as digits: `PROGRESS_ROWS` rows of 0 to 9, a latent in each."""
        return sample_rows(self.averaged.module, PROGRESS_ROWS, self.hyperparameters.seed)

    def quality(self) -> dict[str, float]:
        """For the history: label accuracy and Fréchet distance of 1,000 samples."""
        from .evaluation.quality import quality  # slow to import

        return quality(self)

    def parts(self) -> dict[str, Any]:
        names = "generator", "discriminator", "averaged", "g_optimizer", "d_optimizer"
        return {name: getattr(self, name) for name in names}


TRAINERS["cdcgan"] = Trainer
