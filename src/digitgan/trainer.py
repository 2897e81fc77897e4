"""`Trainer`: the training loop, its checkpoints, and how a run is resumed.

Every random number of a step comes from the run's seed and the step's number, so a run
that was stopped anywhere continues to the same bits as if it never had been.
"""

import contextlib
import csv
import io
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save as safetensors_bytes
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from .common import Mistake, write_whole
from .digits import load_digits
from .figures import progression_gif
from .handwriting import draw_latents, generate
from .hyperparameters import Hyperparameters
from .models import build, computes_bf16, from_pixels, save_generator
from .objectives import OBJECTIVES, gradient_penalty

HANDS = 8  # rows of the progress pictures: one latent writes the ten digits of a row
SUMS = ("discriminator_loss", "generator_loss", "real_logit", "fake_logit", "penalty", "seconds", "cpu_seconds")
CHECK_EVERY = 100  # steps between two looks at whether the losses are finite


class Trainer:
    """Trains the networks that `hyperparameters` describe, writing below `run_dir`.

    Nothing is written before `train()`. `generator` and `discriminator` are the networks as
    trained, `averaged` the generator with averaged (EMA) weights: the one that samples.
    `data_dir`: where a data set other than the repository's MNIST lies.
    """

    def __init__(self, hyperparameters=None, run_dir="runs/run", data_dir=None):
        self.hyperparameters = hyperparameters or Hyperparameters()
        self.run_dir, self.data_dir = Path(run_dir), data_dir
        self.accelerator = Accelerator()  # device, and other processes if launched with several
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

        The history is a list of one dict per epoch: losses, mean logits, seconds, images per second.
        `callback(trainer)`, if any, is called before the first epoch and after each. Ctrl-C, the
        notebook's stop button or `stop()` end the run after the current step with a whole
        checkpoint: call `train()` again to continue. Raises `Mistake` where the folder
        holds a run with other hyperparameters, FloatingPointError where a loss is not finite.
        """
        hp, main = self.hyperparameters, self.accelerator.is_main_process
        self._refuse_another_run()
        digits = load_digits(hp.dataset, train=True, data_dir=self.data_dir)
        if hp.conditional and (digits.labels < 0).any():
            raise Mistake(f"dataset = {hp.dataset!r}: has digits without labels, a conditional GAN needs them all")
        images = torch.from_numpy(digits.images).to(self.device)  # all of MNIST as uint8: 47 MB
        labels = torch.from_numpy(digits.labels).to(self.device)
        per_epoch = max(1, min(hp.limit, len(digits)) // hp.batch_size)  # steps
        self.total = per_epoch * hp.epochs
        self.stopping = False
        if not self._load_checkpoint():
            self._start_afresh()
            self._record(callback)
        with self._stop_on_interrupt(), torch.random.fork_rng(), self._progress_bar(per_epoch) as bar:
            while self.step < self.total and not self.stopping:
                # ---- the next batch: the epoch's shuffle, read at the step's place ----
                epoch, start = divmod(self.step, per_epoch)
                order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(self._seed(epoch, 1)))
                for place in range(start, per_epoch):
                    clock = time.perf_counter(), time.process_time()
                    torch.manual_seed(self._seed(self.step))
                    batch = order[place * hp.batch_size : (place + 1) * hp.batch_size].to(self.device)
                    batch = batch[self.accelerator.process_index :: self.accelerator.num_processes]
                    sums = self._train_step(images[batch], labels[batch])
                    self.step += 1
                    spent = time.perf_counter() - clock[0], time.process_time() - clock[1]
                    self.sums += torch.cat([sums, torch.tensor(spent, dtype=torch.float64)])
                    bar.update()
                    if self.step % CHECK_EVERY == 0 or place + 1 == per_epoch or self.stopping:
                        self._refuse_non_finite(epoch + 1)
                    if self.stopping:
                        break
                if place + 1 == per_epoch:
                    self._end_epoch(epoch + 1, per_epoch, callback)
                    bar.set_postfix_str(f"epoch {epoch + 1} of {hp.epochs}")
            if self.stopping and self.step % per_epoch:
                self._save_checkpoint()
        if main:
            save_generator(self.averaged.module, self.run_dir / "generator.safetensors")
            progression_gif(sorted((self.run_dir / "progress").glob("*.png")), self.run_dir / "progression.gif")
            if self.step < self.total:
                print(f"stopped after step {self.step:,} of {self.total:,}; train() continues from {self.run_dir}")
        return self.history

    def _train_step(self, x, y):
        """One update of each network, on real pixels x (B, 28, 28) with labels y (B,); gives the sums to log."""
        hp = self.hyperparameters
        discriminator_loss, generator_loss = OBJECTIVES[hp.objective]
        progress = self.step / self.total if hp.schedule == "cosine" else 0.0
        falling = (1 + math.cos(math.pi * progress)) / 2  # from 1 to 0 over the run
        gamma = hp.gamma_end + (hp.gamma - hp.gamma_end) * falling if hp.gamma else 0.0
        penalised = gamma > 0 and self.step % hp.penalty_every == 0
        x = from_pixels(x, hp.real_range)  # (B, 1, 28, 28)
        z1, z2 = torch.randn(2, len(y), hp.z_dim).to(self.device)

        # (1) Update D: tell each real digit from the generated one it is paired with
        with torch.no_grad(), self._autocast():
            fake = self.generator(z1, y).float()
        if penalised:  # gradients of logits with respect to images, in float32
            x.requires_grad_(), fake.requires_grad_()
        with self._autocast(not penalised):
            real_logits, fake_logits = self.discriminator(x, y).float(), self.discriminator(fake, y).float()
        d_loss, penalty = discriminator_loss(real_logits, fake_logits), torch.zeros(())
        if penalised:
            penalty = gradient_penalty(real_logits, x) + gradient_penalty(fake_logits, fake)
        self._update(self.d_optimizer, d_loss + gamma / 2 * hp.penalty_every * penalty, hp.discriminator_lr * falling)

        # (2) Update G: make D take the generated digits for real
        self.discriminator.requires_grad_(False)
        with self._autocast():
            with torch.no_grad():
                real_again = self.discriminator(x, y).float()
            fake_again = self.discriminator(self.generator(z2, y), y).float()
        g_loss = generator_loss(real_again, fake_again)
        self._update(self.g_optimizer, g_loss, hp.generator_lr * falling)
        self.discriminator.requires_grad_(True)

        # (3) Average G's weights
        self.averaged.update_parameters(self.generator)
        logged = d_loss, g_loss, real_logits.mean(), fake_logits.mean(), penalty * hp.penalty_every
        return torch.stack([value.detach().cpu().double() for value in logged])

    def test(self, num=30, label=None, seed=0):
        """`num` digits from the averaged generator, as `Digits`: labels 0, 1, ..., 9, 0, 1, ..., or all of `label`."""
        if type(num) is not int or num < 0:
            raise Mistake(f"num = {num!r}: must be a whole number, 0 or more")
        if label is not None and not self.hyperparameters.conditional:
            raise Mistake(f"label = {label!r}: an unconditional generator cannot be asked for a digit")
        return generate(self.averaged.module, np.arange(num) % 10 if label is None else [label] * num, seed)

    def stop(self):
        """End `train()` after the current step, with a whole checkpoint; may be called from a callback or thread."""
        self.stopping = True

    @property
    def device(self):
        return self.accelerator.device

    @property
    def images_seen(self):
        return self.step * self.hyperparameters.batch_size

    # ---- the parts of a step ----

    def _seed(self, position, stream=0):
        return (self.hyperparameters.seed << 32) + (position << 1 | stream) + (self.accelerator.process_index << 31)

    def _autocast(self, enabled=True):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled and self.bf16)

    def _update(self, optimizer, loss, lr):
        optimizer.zero_grad()
        loss.backward()
        (group,) = optimizer.param_groups
        if self.accelerator.num_processes > 1:  # every process has its share of the batch
            for parameter in group["params"]:
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        group["lr"] = lr
        optimizer.step()

    def _average(self, averaged, current, _):
        """The averaged weights' step towards the current ones (called by AveragedModel)."""
        hp = self.hyperparameters
        half_life = min(hp.ema_half_life, hp.ema_ramp * self.images_seen)
        share = 1 - 0.5 ** (hp.batch_size / half_life) if half_life else 1.0
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

    def _refuse_another_run(self):
        path = self.run_dir / "hyperparameters.json"
        if path.is_file():
            found = Hyperparameters.from_json(path)
            for name, asked in vars(self.hyperparameters).items():
                if asked != getattr(found, name):
                    raise Mistake(
                        f"{self.run_dir} holds a run with {name} = {getattr(found, name)!r}, asked for {asked!r}: "
                        "choose another run_dir, or delete that one"
                    )
        elif self.accelerator.is_main_process:
            write_whole(path, self.hyperparameters.to_json().encode())

    def _refuse_non_finite(self, epoch):
        losses = dict(zip(SUMS, self.sums.tolist(), strict=True))
        for name, value in losses.items():
            if not math.isfinite(value):
                kept = "the last checkpoint is kept" if self.history else "there is no checkpoint yet"
                raise FloatingPointError(
                    f"{name} is {value} in epoch {epoch}, near step {self.step:,}: training stopped, {kept} in "
                    f"{self.run_dir}; a lower learning rate or precision='fp32' may help"
                )

    def _end_epoch(self, epoch, per_epoch, callback):
        row = dict(zip(SUMS, (self.sums / per_epoch).tolist(), strict=True))
        seconds, cpu_seconds = self.sums[-2:].tolist()
        images = per_epoch * self.hyperparameters.batch_size
        row |= {"seconds": seconds, "cpu_seconds": cpu_seconds, "images_per_second": images / seconds}
        self.history.append({"epoch": epoch, "images": self.images_seen} | row)
        self.sums.zero_()
        self._record(callback)

    def _record(self, callback):
        """Picture, table and checkpoint of the epoch that has just ended (0: before the first)."""
        epoch, k = len(self.history), self.hyperparameters.keep_every
        if self.accelerator.is_main_process:
            digits = self.progress()
            digits.save(self.run_dir / "progress" / f"{epoch:03}.png", inverted=True)
            if self.history:
                table = io.StringIO()
                rows = csv.DictWriter(table, self.history[0])
                rows.writeheader(), rows.writerows(self.history)
                write_whole(self.run_dir / "history.csv", table.getvalue().encode())
            if k and epoch and epoch % k == 0:
                save_generator(self.averaged.module, self.run_dir / "weights" / f"{epoch:03}-generator.safetensors")
                weights = safetensors_bytes(self.discriminator.state_dict())
                write_whole(self.run_dir / "weights" / f"{epoch:03}-discriminator.safetensors", weights)
            self._log_to_tensorboard(digits)
        self._save_checkpoint()
        if callback:
            callback(self)

    def progress(self):
        """What the averaged generator makes of the run's fixed latents: `HANDS` rows of 0 to 9, as `Digits`."""
        hp = self.hyperparameters
        z = draw_latents(HANDS, hp.z_dim, hp.seed).repeat_interleave(10, 0)  # (80, z_dim)
        if not hp.conditional:
            z = draw_latents(10 * HANDS, hp.z_dim, hp.seed)
        return generate(self.averaged.module, np.arange(10 * HANDS) % 10, z=z)

    def _log_to_tensorboard(self, fake):
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        with SummaryWriter(str(self.run_dir / "tensorboard"), purge_step=self.step) as writer:
            for name, value in self.history[-1].items() if self.history else ():
                writer.add_scalar(name, value, self.step)
            real = load_digits(self.hyperparameters.dataset, data_dir=self.data_dir)[: 10 * HANDS]
            for name, digits in (("real", real), ("generated", fake)):
                writer.add_image(name, np.asarray(digits.grid(columns=10)), self.step, dataformats="HW")

    def _parts(self):
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "averaged": self.averaged,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
        }

    def _save_checkpoint(self):
        if self.accelerator.is_main_process:
            state = {name: part.state_dict() for name, part in self._parts().items()}
            state |= {"step": self.step, "history": self.history, "sums": self.sums}
            file = io.BytesIO()
            torch.save(state, file)
            path = self.run_dir / "checkpoint.pt"
            if path.exists():
                os.replace(path, self.run_dir / "checkpoint.previous.pt")
            write_whole(path, file.getvalue())
        self.accelerator.wait_for_everyone()

    def _load_checkpoint(self):
        """Take over the state of the folder's last whole checkpoint; False if it has none."""
        for name in ("checkpoint.pt", "checkpoint.previous.pt"):
            path = self.run_dir / name
            if path.is_file():
                try:
                    state = torch.load(path, map_location=self.device, weights_only=True)
                except Exception as error:  # cut short by a full disk, say: the one before is whole
                    print(f"{path} cannot be read ({str(error).splitlines()[0]})", file=sys.stderr)
                    continue
                for part, module in self._parts().items():
                    module.load_state_dict(state[part])
                self.step, self.history, self.sums = state["step"], state["history"], state["sums"].cpu()
                return True
        return False

    # ---- the user ----

    @contextlib.contextmanager
    def _stop_on_interrupt(self):
        """Let the first Ctrl-C end the run between two steps; a second one interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def handler(*_):
            self.stopping = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _progress_bar(self, per_epoch):
        """A bar in terminals and notebooks, nothing where output goes to a file."""
        shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
        notebook = type(shell).__name__ == "ZMQInteractiveShell"
        return tqdm(
            total=self.total,
            initial=self.step,
            unit="step",
            desc="training",
            file=sys.stdout if notebook else sys.stderr,
            disable=not (self.accelerator.is_main_process and (notebook or sys.stderr.isatty())),
            postfix=f"epoch {self.step // per_epoch} of {self.hyperparameters.epochs}",
            mininterval=0.5,
        )
