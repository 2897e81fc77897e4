"""`Trainer`: the training loop, its checkpoints, and how a run is resumed.

Every random number of a step comes from the run's seed and the step's number, so a run
that was stopped anywhere continues to the same bits as if it never had been.
"""

import contextlib
import math
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save as safetensors_bytes
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel

from .runs import folder as runfolder
from .common import Mistake, short, write_table, write_whole
from .runs.console import on_interrupt, progress_bar
from .data.digits import load_digits, release
from .app.figures import progression_gif
from .handwriting.sampling import generate, hands
from .hyperparameters import Hyperparameters
from .models import build, computes_bf16, from_pixels, save_generator
from .objectives import OBJECTIVES, PENALTIES

HANDS = 8  # rows of the progress pictures: one latent writes the ten digits of a row
SUMS = ("discriminator_loss", "generator_loss", "real_logit", "fake_logit", "penalty", "seconds", "cpu_seconds")
CHECK_EVERY = 100  # steps between two looks at whether training has diverged
BOUND = 1e5  # of the mean of a loss or a logit, and of a weight: beyond it training has
PAIRED_BOUND = 30  # of the relativistic losses, which stay near log 2 while neither network wins


class Trainer:
    """Trains the networks that `hyperparameters` describe, writing below `run_dir`.

    Nothing is written before `train()`. `generator` and `discriminator` are the networks as trained, `averaged` the generator
    with averaged (EMA) weights: the one that samples. `data_dir`: where a data set other than the repository's MNIST lies.

    Launched in several processes (torchrun), each takes its share of every batch and the gradients are averaged: the
    same training as in one, up to the order of sums, but for BatchNorm and dropout, which see only their share.
    """

    def __init__(self, hyperparameters=None, run_dir="runs/run", data_dir=None):
        self.hyperparameters = hyperparameters or Hyperparameters()
        self.run_dir, self.data_dir, self.crc = Path(run_dir), data_dir, None
        self.batch_size = min(self.hyperparameters.batch_size, self.hyperparameters.limit)
        self.accelerator = Accelerator(cpu=not torch.accelerator.is_available())  # device, and other processes if any
        self.device = self.accelerator.device
        if self.batch_size % (processes := self.accelerator.num_processes):
            raise Mistake(f"batches of {self.batch_size} for {processes} processes: must divide evenly")
        self._start_afresh()

    @classmethod
    def resume(cls, run_dir, data_dir=None):
        """The trainer of a run folder, in the state of its last checkpoint; `train()` continues it."""
        path = Path(run_dir) / "hyperparameters.json"
        if not path.is_file():
            raise FileNotFoundError(f"{run_dir}: no run to resume, it has no hyperparameters.json")
        trainer = cls(Hyperparameters.from_json(path), run_dir, data_dir)
        trainer._load_checkpoint()
        return trainer

    def train(self, callback=None):
        """Train to the last epoch, from the folder's last checkpoint if it has one; gives the history.

        The history is a list of one dict per epoch: losses, mean logits, seconds, images per second. `callback(trainer)`,
        if any, is called at the start and after each epoch. Ctrl-C, the notebook's stop button or `stop()` end the run after
        the current step with a whole checkpoint: call `train()` again to continue. Raises `Mistake` where the folder holds
        a run with other hyperparameters, belongs to another process or cannot be written, and where training diverges.
        """
        hp = self.hyperparameters
        with self.accelerator.local_main_process_first():  # one downloads what is missing
            self.digits = load_digits(hp.dataset, train=True, data_dir=self.data_dir)
        some = self.digits.images[:: len(self.digits) // 1000 + 1].tobytes()
        self.crc = crc32(some, len(self.digits))  # tells them from others of the same name
        if hp.conditional and (self.digits.labels < 0).any():
            raise Mistake(f"dataset = {hp.dataset!r}: has digits without labels, a conditional GAN needs them all")
        try:
            main = self.accelerator.is_main_process
            with runfolder.lock(self.run_dir) if main else contextlib.nullcontext() as self.held:
                return self._train(callback)
        except OSError as error:
            path = Path(error.filename or self.run_dir).resolve()
            if not path.is_relative_to(self.run_dir.resolve()):  # a callback's
                raise
            reason = f"cannot be written ({error.strerror or error}); training stopped at step {self.step:,}"
            raise Mistake(f"{self.run_dir}: {reason}, train() continues from the last checkpoint there") from None

    def _train(self, callback):
        hp, digits, main = self.hyperparameters, self.digits, self.accelerator.is_main_process
        if main:
            runfolder.claim(self.run_dir, hp)
        self.batch_size = min(self.batch_size, len(digits))
        per_epoch = min(hp.limit, len(digits)) // self.batch_size  # steps
        self.total, self.stopping, order = per_epoch * hp.epochs, False, None
        found = self._load_checkpoint()
        if self._mean([self.step]) != self.step:
            raise Mistake(f"{self.run_dir}: must be one folder for all processes, they find other checkpoints there")
        self.discriminator.requires_grad_(True)  # an interrupt may have left it frozen
        if not found:
            self._start_afresh()
        bar = progress_bar(main, desc="training", unit="step", total=self.total, initial=self.step)
        board = runfolder.tensorboard(self.run_dir, self.step + found) if main else contextlib.nullcontext()
        with bar, board as self.board, on_interrupt(self.stop), torch.random.fork_rng():
            if not found:
                self._record(callback)
            elif callback:
                callback(self)
            while self.step < self.total and not self._mean([self.stopping]):
                epoch, place = divmod(self.step, per_epoch)
                if place == 0 or order is None:  # the epoch's shuffle
                    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(self._seed(epoch, 1)))
                clock = time.perf_counter(), time.process_time()
                torch.manual_seed(self._seed(self.step))
                batch = self._share(order[place * self.batch_size : (place + 1) * self.batch_size]).numpy()
                x, y = (torch.from_numpy(part[batch]).to(self.device) for part in (digits.images, digits.labels))
                release(digits.images)
                logged = self._train_step(x, y)
                wall, cpu = time.perf_counter() - clock[0], time.process_time() - clock[1]
                cpu *= self.accelerator.num_processes  # of all of them
                self.sums += self._mean([*logged, wall, cpu]).cpu()
                self.step += 1
                bar.update()
                if self.step % CHECK_EVERY == 0 or self.step % per_epoch == 0:
                    self._refuse_divergence(per_epoch)
                if self.step % per_epoch == 0:
                    self._end_epoch(per_epoch)
                    self._record(callback)
            if self.step % per_epoch:
                self._refuse_divergence(per_epoch)
                self._save_checkpoint()
        if main:
            save_generator(self.averaged.module, self.run_dir / "generator.safetensors")
            frames = [self.run_dir / "progress" / f"{epoch:03}.png" for epoch in range(len(self.history) + 1)]
            progression_gif(frames, self.run_dir / "progression.gif")
            if self.step < self.total:
                print(f"stopped after step {self.step:,} of {self.total:,}; train() continues from {self.run_dir}")
        return self.history

    def _train_step(self, x, y):
        """One update of each network, on real pixels x (B, 28, 28) with labels y (B,); gives what is logged."""
        hp = self.hyperparameters
        discriminator_loss, generator_loss = OBJECTIVES[hp.objective]
        falling = (1 + math.cos(math.pi * self.step / self.total)) / 2 if hp.schedule == "cosine" else 1.0  # to 0
        gamma = hp.gamma_end + (hp.gamma - hp.gamma_end) * falling if hp.gamma else 0.0
        classify = hp.classify_end + (hp.classify - hp.classify_end) * falling
        x = from_pixels(x, hp.real_range)  # (B, 1, 28, 28)
        self.generator.train(not (hp.eval_left_on and self.history))

        simultaneous = hp.updates == "simultaneous"
        # (1) Update D: tell each real digit from the generated one it is paired with, and read the real one
        with self._autocast():
            with torch.set_grad_enabled(simultaneous):
                made = self.generator(self._draw(torch.randn, hp.z_dim), y)
            fake = made.detach().float().requires_grad_(simultaneous)
            real, seen = self._shifted(x, fake)
            (real_logits, classes), (fake_logits, _) = (self.discriminator.judge(batch, y) for batch in (real, seen))
        extra = classify * cross_entropy(classes, y) if hp.classify else 0.0
        if hp.separate_steps:  # a logit of infinity adds nothing to the loss
            infinity = torch.full_like(real_logits, torch.inf)
            real_loss = discriminator_loss(real_logits, -infinity)
            self._update(self.d_optimizer, real_loss + extra, hp.discriminator_lr * falling)
            with self._autocast():
                fake_logits = self.discriminator(seen, y)
            d_loss, extra = discriminator_loss(infinity, fake_logits) + real_loss.detach(), 0.0
        else:
            d_loss = discriminator_loss(real_logits, fake_logits)
        penalty = torch.zeros(())
        if gamma and self.step % hp.penalty_every == 0:
            with self._autocast():
                penalty = PENALTIES[hp.penalty](self.discriminator, real, seen, y, self._draw(torch.rand, 1, 1, 1))
            extra = extra + gamma * hp.penalty_every * penalty
        self._update(self.d_optimizer, d_loss + extra, hp.discriminator_lr * falling)
        if hp.clip:
            for weights in self.discriminator.parameters():
                weights.data.clamp_(-hp.clip, hp.clip)

        # (2) Update G: make D take the generated digits for real
        if simultaneous:  # D's backward pass has brought its own slopes to the images: turn them into those of G's loss
            logits = real_logits.detach(), fake_logits.detach().requires_grad_()
            g_loss = generator_loss(*logits)
            (wanted,), (had,) = (torch.autograd.grad(loss, logits[1]) for loss in (g_loss, discriminator_loss(*logits)))
            turn = (wanted / had).clamp(-1e15, 1e15)[:, None, None, None]  # (B, 1, 1, 1)
            self._update(self.g_optimizer, made, hp.generator_lr * falling, (turn * fake.grad).to(made.dtype))
        else:
            self.discriminator.requires_grad_(False)
            for _ in range(hp.generator_steps):
                with self._autocast():
                    real, seen = self._shifted(x, self.generator(self._draw(torch.randn, hp.z_dim), y))
                    with torch.no_grad():  # only pairs need the real digits again
                        real_again = self.discriminator(real, y) if hp.objective == "relativistic" else None
                    fake_again = self.discriminator(seen, y)
                g_loss = generator_loss(real_again, fake_again)
                self._update(self.g_optimizer, g_loss, hp.generator_lr * falling)
            self.discriminator.requires_grad_(True)

        # (3) Average G's weights
        self.averaged.update_parameters(self.generator)
        return [value.item() for value in (d_loss, g_loss, real_logits.mean(), fake_logits.mean(), penalty)]

    def test(self, num=30, label=None, seed=0):
        """`num` digits from the averaged generator, as `Digits`: labels 0, 1, ..., 9, 0, 1, ..., or all of `label`."""
        if type(num) is not int or num < 0:
            raise Mistake(f"num = {short(num)}: must be a whole number, 0 or more")
        if label is not None and not self.hyperparameters.conditional:
            raise Mistake(f"label = {label!r}: an unconditional generator cannot be asked for a digit")
        return generate(self.averaged.module, np.arange(num) % 10 if label is None else [label] * num, seed)

    def stop(self):
        """End `train()` after the current step, with a whole checkpoint; may be called from a callback or thread."""
        self.stopping = True

    @property
    def images_seen(self):
        return self.step * self.batch_size

    # ---- the parts of a step ----

    def _draw(self, source, *shape):
        """This process's share of random numbers (B, *shape), which all processes draw alike for the whole batch."""
        return self._share(source(self.batch_size, *shape)).to(self.device)

    def _share(self, batch):
        return batch[self.accelerator.process_index :: self.accelerator.num_processes]

    def _shifted(self, *batches):
        """Batches (B, 1, 28, 28), all of them moved alike by at most `shift` pixels."""
        if not (most := self.hyperparameters.shift):
            return batches
        down_and_right = torch.randint(-most, most + 1, (2,)).tolist()
        return [batch.roll(down_and_right, (2, 3)) for batch in batches]

    def _mean(self, values):
        """The means of a tensor's or a list's numbers over all processes, as a tensor."""
        values = torch.as_tensor(values, dtype=torch.float32, device=self.device)
        if self.accelerator.num_processes == 1:
            return values
        try:
            return self.accelerator.reduce(values, "mean")
        except RuntimeError as error:
            reason = f"another process of this run has ended ({str(error).splitlines()[0]}): training stopped"
            raise Mistake(f"{reason}; started again, it continues from {self.run_dir}'s last checkpoint") from None

    def _seed(self, position, stream=0):
        """The seed of a step (stream 0) or of an epoch's shuffle (stream 1), the same in all processes."""
        return (position << 1 | stream) ^ self.hyperparameters.seed * 0x9E3779B9 % 2**32  # torch takes 32 bits

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _update(self, optimizer, loss, lr, slopes=None):
        optimizer.zero_grad()
        loss.backward(slopes)
        (group,) = optimizer.param_groups
        if self.accelerator.num_processes > 1:  # every process has its share of the batch
            slopes = [parameter.grad for parameter in group["params"]]
            vector_to_parameters(self._mean(parameters_to_vector(slopes)), slopes)
        group["lr"] = lr
        optimizer.step()

    def _average(self, averaged, current, _):
        """The averaged weights' step towards the current ones (called by AveragedModel)."""
        hp = self.hyperparameters
        half_life = min(hp.ema_half_life, hp.ema_ramp * self.images_seen)
        share = 1 - 0.5 ** (self.batch_size / half_life) if half_life else 1.0
        return averaged.lerp(current, share) if averaged.is_floating_point() else current

    # ---- the run folder ----

    def _start_afresh(self):
        hp = self.hyperparameters
        with torch.random.fork_rng():
            torch.manual_seed(hp.seed)
            generator, discriminator = build(hp)
        self.generator, self.discriminator = generator.to(self.device), discriminator.to(self.device)
        self.averaged = AveragedModel(self.generator, avg_fn=self._average, use_buffers=True)
        betas = (hp.beta1, hp.beta2)
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), hp.generator_lr, betas, fused=True)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), hp.discriminator_lr, betas, fused=True)
        self.bf16 = hp.precision == "bf16" or (hp.precision == "auto" and computes_bf16(self.device))
        self.step, self.history, self.stopping = 0, [], False
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64)  # of the epoch so far

    def _refuse_divergence(self, per_epoch):
        """Raise `Mistake` where losses, logits or weights have grown beyond all bounds or are no numbers."""
        steps = (self.step - 1) % per_epoch + 1
        means = dict(zip(SUMS[:-2], (self.sums[:-2] / steps).tolist(), strict=True))
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            weights = parameters_to_vector(network.parameters()).detach()
            means[f"the {name}'s largest weight"] = float(weights.abs().max())
        for name, value in means.items():
            paired = name in SUMS[:2] and self.hyperparameters.objective == "relativistic"
            if not abs(value) <= (PAIRED_BOUND if paired else BOUND):
                where = f"near step {self.step:,}, in epoch {(self.step - 1) // per_epoch + 1}"
                raise Mistake(
                    f"{name} is {value:g} {where}: training diverged and stopped, the last checkpoint is kept in "
                    f"{self.run_dir}; lower learning rates, a larger gamma or precision='fp32' may help, in another run_dir"
                )

    def _end_epoch(self, per_epoch):
        row = dict(zip(SUMS, (self.sums / per_epoch).tolist(), strict=True))
        every, steps = self.hyperparameters.penalty_every, range(self.step - per_epoch, self.step)
        row["penalty"] *= per_epoch / max(1, sum(step % every == 0 for step in steps))  # the mean where it is computed
        row["seconds"], row["cpu_seconds"] = self.sums[-2:].tolist()
        row["images_per_second"] = per_epoch * self.batch_size / row["seconds"]
        self.history.append({"epoch": len(self.history) + 1, "images": self.images_seen} | row)
        self.sums.zero_()

    def _record(self, callback):
        """Picture, table and checkpoint of the epoch that has just ended (0: before the first)."""
        epoch, k, folder = len(self.history), self.hyperparameters.keep_every, self.run_dir
        if self.accelerator.is_main_process:
            runfolder.still_there(folder, self.held)
            digits = self.progress()
            digits.save(folder / "progress" / f"{epoch:03}.png", inverted=True)
            write_table(folder / "history.csv", self.history)
            if k and epoch and epoch % k == 0:
                save_generator(self.averaged.module, folder / "weights" / f"{epoch:03}-generator.safetensors")
                discriminator = safetensors_bytes(self.discriminator.state_dict())
                write_whole(folder / "weights" / f"{epoch:03}-discriminator.safetensors", discriminator)
            pictures = {"generated": digits, "real": self.digits[: len(digits)]}
            runfolder.log_to_tensorboard(self.board, self.step, self.history[-1] if epoch else {}, pictures)
        self._save_checkpoint()
        if callback:
            callback(self)

    def progress(self):
        """What the averaged generator makes of the run's fixed latents: `HANDS` rows of 0 to 9, as `Digits`."""
        return hands(self.averaged.module, HANDS, self.hyperparameters.seed)

    def _parts(self):
        names = "generator", "discriminator", "averaged", "g_optimizer", "d_optimizer"
        return {name: getattr(self, name) for name in names}

    def _save_checkpoint(self):
        if self.accelerator.is_main_process:
            runfolder.still_there(self.run_dir, self.held)
            state = {name: part.state_dict() for name, part in self._parts().items()}
            state |= {"step": self.step, "history": self.history, "sums": self.sums, "crc": self.crc}
            runfolder.save_checkpoint(self.run_dir, state, self.hyperparameters)
        self.accelerator.wait_for_everyone()

    def _load_checkpoint(self):
        """Take over the state of the folder's last whole checkpoint; False if it has none."""
        state = runfolder.load_checkpoint(self.run_dir, self.hyperparameters)
        if state is None:
            return False
        if self.crc and state.get("crc", self.crc) != self.crc:
            raise Mistake(f"{self.run_dir}: trained on other digits than those of data_dir = {self.data_dir}")
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.step, self.history = int(state["step"]), list(state["history"])
            self.sums = state["sums"].reshape(len(SUMS)).double()
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise Mistake(f"{self.run_dir}: its checkpoint holds no such run ({type(error).__name__})") from None
        return True
