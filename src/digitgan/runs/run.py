"""`Run`: what a training run writes after each epoch, and how it is restored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from ..aliases import translate_weights
from ..data.batches import Batches
from ..data.datasets import are_of_mnist, known_spec, load_digits
from ..data.digits import Digits
from ..data.sources import as_sets, load_sets
from ..data.spec import ImageSpec
from ..errors import InvalidInputError, RunFolderError, short_repr
from ..files import shown, user_path
from ..hyperparameters import Hyperparameters
from ..streams import tell
from .divergence import refuse_divergence
from .folder import RunFolder
from .metrics import STEP_METRICS, EpochMetrics
from .processes import Processes, native_bf16
from .torch_modes import ordinary_torch
from .weights import save_generator

R = TypeVar("R", bound="Run")
CHECK_INTERVAL = 100  # steps between two checks for divergence
# system -> its trainer: `trainer.py` adds the default's, the files of `systems/` add theirs
TRAINERS: dict[str, type["Run"]] = {}
OWN_IMAGES = "own images"  # what `dataset` becomes for images unlike those of the set it names


class Run:
    """The part of a trainer that does not depend on the method: data, folder, history and
    checkpoints.

    A subclass makes the networks in `start_over`, names what a checkpoint holds in `parts`, and
    draws the picture of an epoch in `progress`.
    """

    def __new__(
        cls: type[R], hyperparameters: Hyperparameters | None = None, *_: Any, **__: Any
    ) -> R:
        """The trainer of the hyperparameters' system: an older one has a class of its own."""
        name = "cdcgan" if hyperparameters is None else hyperparameters.system
        if name not in TRAINERS:
            rule = f"{', '.join(TRAINERS)} (`import digitgan.systems` knows more)"
            raise InvalidInputError(f"system = {short_repr(name)}: must be one of {rule}")
        chosen = TRAINERS[name] if cls is TRAINERS["cdcgan"] else cls
        if not issubclass(chosen, TRAINERS[name]):
            rule = f"a subclass of {TRAINERS[name].__name__}"
            raise InvalidInputError(f"{cls.__name__} with system = {name!r}: must be {rule}")
        return cast(R, object.__new__(chosen))

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        run_dir: str | Path,
        data_dir: str | Path | None,
        digits: Any,
    ) -> None:
        self.folder = RunFolder(run_dir)
        self.data_dir = None if data_dir is None else user_path(data_dir)
        self.hyperparameters = hyperparameters
        self.checksums = {"crc": 0, "labels_crc": 0}  # of the training set, once it is there
        self.digits: Digits | None = None
        self.test_digits: Digits | None = None  # where the source of the digits has some
        if digits is not None:
            self.digits, self.test_digits = as_sets(digits)
        self.digits_given = digits is not None
        self.spec = self.find_spec()
        self.judge: Callable[[Any], dict[str, float]] | None = None  # of samples, made when needed
        hp = self.hyperparameters
        self.batch_size = min(hp.batch_size, hp.images_per_epoch)
        self.steps_per_epoch = hp.images_per_epoch // self.batch_size
        self.processes = Processes(self.batch_size, self.folder.path)
        self.device = self.processes.device
        self.bf16 = hp.precision == "bf16" or (hp.precision == "auto" and native_bf16(self.device))
        self.metrics = EpochMetrics(self.processes.mean)
        self.step, self.stopping = 0, False
        self.history: list[dict[str, float]] = []

    @classmethod
    def resume(
        cls: type[R],
        run_dir: str | Path,
        data_dir: str | Path | None = None,
        digits: Any = None,
    ) -> R:
        """The trainer of a run folder, in the state of its last checkpoint; `train()` continues
        it."""
        path = user_path(run_dir) / "hyperparameters.json"
        if not path.is_file():
            raise FileNotFoundError(f"{run_dir}: no run to resume, it has no hyperparameters.json")
        trainer = cls(Hyperparameters.from_json(path), run_dir, data_dir, digits)
        trainer.load_checkpoint()
        return trainer

    def find_spec(self) -> ImageSpec:
        """What the images are: of the digits given, of the run that the folder holds, of the data
        set's name, or of its files."""
        name = self.hyperparameters.dataset
        known = known_spec(name)
        if self.digits is not None:
            if (known and known != self.digits.spec) or (
                name == "MNIST" and not are_of_mnist(self.digits)
            ):
                self.hyperparameters = self.hyperparameters.replace(dataset=OWN_IMAGES)
            return self.digits.spec
        if spec := self.folder.read_spec() or known:
            return spec
        return self.find_digits().spec

    def find_digits(self) -> Digits:
        """The training set: the one at hand, or that of the name, whose files are read now. A part
        of one's own IDX files is held out where they have no test part."""
        if self.digits is not None:
            return self.digits
        name = self.hyperparameters.dataset
        if name == OWN_IMAGES:
            rule = "give them again, as `digits` or by --images"
            raise InvalidInputError(f"{self.run_dir}: a run on one's own images, {rule}")
        if known_spec(name):
            self.digits = load_digits(name, train=True, data_dir=self.data_dir)
        else:
            self.digits, self.test_digits = load_sets(name, self.data_dir)
        return self.digits

    def quality(self) -> dict[str, float]:
        """Figures of the generator's samples for the epoch's row of the history, by name."""
        return {}

    def stop(self) -> None:
        """End `train()` after the current step, with a whole checkpoint; for callbacks and
        threads."""
        self.stopping = True

    def autocast(self) -> torch.autocast:
        """A block whose matrix products are in bfloat16, where the run's precision asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def start_over(self) -> None:
        """Make untrained networks."""
        raise NotImplementedError

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds the states of, by name: networks (with "averaged") and
        optimisers."""
        raise NotImplementedError

    def progress(self) -> Digits:
        """The picture of an epoch."""
        raise NotImplementedError

    @property
    def run_dir(self) -> Path:
        return self.folder.path

    @property
    def images_seen(self) -> int:
        return self.step * self.batch_size

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.hyperparameters.epochs

    def load_batches(self) -> Batches:
        """The training set in batches; it decides how many steps an epoch has."""
        hp = self.hyperparameters
        with self.processes.main_first():  # one downloads what is missing
            digits = self.find_digits()
        if digits.spec != self.spec:
            told = f"{self.run_dir} holds a run on {self.spec}; these are {digits.spec}"
            raise RunFolderError(f"{told}: choose another run_dir")
        self.check_digits(digits)
        batches = Batches(digits, self.batch_size, hp.images_per_epoch, hp.seed, self.device)
        self.batch_size, self.steps_per_epoch = batches.batch_size, batches.steps_per_epoch
        self.checksums = batches.checksums
        return batches

    def check_digits(self, digits: Digits) -> None:
        """Refuse a training set that cannot be used, and name classes without images."""
        if not len(digits):
            raise InvalidInputError(f"dataset = {self.hyperparameters.dataset!r}: has no images")
        if not self.hyperparameters.conditional:
            return
        if (digits.labels < 0).any():
            rule = "has images without labels, a conditional generator needs them all"
            raise InvalidInputError(f"dataset = {self.hyperparameters.dataset!r}: {rule}")
        seen = set(digits.labels.tolist())
        if empty := [name for y, name in enumerate(digits.classes) if y not in seen]:
            told = f"no images of {short_repr(empty)[1:-1]}"
            tell(f"{told}: what the generator writes for such a class means nothing")

    def end_epoch(self, real: Digits) -> None:
        """Add the epoch's row to the history, and write what the folder keeps of it."""
        hp, steps = self.hyperparameters, self.steps_per_epoch
        penalties = sum(s % hp.penalty_interval == 0 for s in range(self.step - steps, self.step))
        epoch = len(self.history) + 1
        row = self.metrics.epoch_row(epoch, steps, penalties, self.batch_size)
        self.history.append(row | (self.quality() if self.processes.is_main else {}))
        if self.processes.is_main and hp.snapshot_interval and epoch % hp.snapshot_interval == 0:
            parts = self.parts()
            self.folder.save_snapshot(epoch, parts["averaged"].module, parts["discriminator"])
        self.save_epoch(real)

    def save_epoch(self, real: Digits) -> None:
        """Write the epoch's picture beside real digits, the table and a checkpoint."""
        if self.processes.is_main:
            progress = self.progress()
            self.folder.save_epoch(self.history, progress, real[: len(progress)], self.step)
        self.save_checkpoint()

    def end_run(self) -> None:
        """Write the generator to hand on, and, in the middle of an epoch, a checkpoint."""
        if self.step % self.steps_per_epoch:
            self.check_divergence(now=True)
            self.save_checkpoint()
        if self.processes.is_main:
            save_generator(self.parts()["averaged"].module, self.run_dir / "generator.safetensors")
            self.folder.save_progression(len(self.history))
            if self.step < self.total_steps:
                told = f"stopped after step {self.step:,} of {self.total_steps:,}"
                tell(f"{told}; train() continues from {shown(self.run_dir)}")

    def check_divergence(self, now: bool = False) -> None:
        """Every `CHECK_INTERVAL` steps, at an epoch's end, or now: raise `TrainingDivergedError`
        where losses, logits or weights are out of bounds or no numbers."""
        if not now and self.step % CHECK_INTERVAL and self.step % self.steps_per_epoch:
            return
        epoch, steps = divmod(self.step - 1, self.steps_per_epoch)
        means = self.metrics.means(steps + 1)
        networks = {name: self.parts()[name] for name in ("generator", "discriminator")}
        where = (
            f"near step {self.step:,}, in epoch {epoch + 1}: training diverged and stopped, "
            f"the last checkpoint is kept in {self.run_dir}"
        )
        relativistic = self.hyperparameters.loss == "relativistic"
        refuse_divergence({k: means[k] for k in STEP_METRICS}, networks, relativistic, where)

    # ---- checkpoints ----

    def save_checkpoint(self) -> None:
        """Write the whole state, from which `train()` continues to the same bits."""
        if self.processes.is_main:
            self.metrics.fetch()
            values = {"step": self.step, "history": self.history, "sums": self.metrics.sums}
            values |= self.checksums
            self.folder.save_checkpoint(self.parts(), values, self.hyperparameters)
        self.processes.wait()

    @ordinary_torch()
    def load_checkpoint(self) -> bool:
        """Take over the state of the folder's last whole checkpoint; False if it has none."""
        state = self.folder.load_checkpoint(self.hyperparameters)
        if state is None:
            return False
        if any(here and state.get(name, here) != here for name, here in self.checksums.items()):
            what = "labels" if state.get("crc") == self.checksums["crc"] else "images"
            of = f"of {self.data_dir or self.hyperparameters.dataset}"
            those = "those given" if self.digits_given else f"those {of}"
            raise RunFolderError(f"{self.run_dir}: trained on other {what} than {those}")
        try:
            for name, part in self.parts().items():
                part.load_state_dict(translate_weights(state[name]))
                if isinstance(part, torch.optim.Optimizer):
                    check_optimizer_state(part)
            self.metrics.load(state["sums"])
            self.step, self.history = int(state["step"]), list(state["history"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            told = f"its checkpoint holds no such run ({type(error).__name__})"
            raise RunFolderError(f"{self.run_dir}: {told}") from None
        return True

    def restore(self) -> bool:
        """Before training: take over the last checkpoint, or start over; whether there was one."""
        self.stopping = False
        if self.processes.is_main:
            self.folder.check_or_write_hyperparameters(self.hyperparameters, self.spec)
        found = self.load_checkpoint()
        if self.processes.mean([self.step]) != self.step:
            told = "must be one folder for all processes, they find other checkpoints there"
            raise RunFolderError(f"{self.run_dir}: {told}")
        if not found:
            self.start_over()
        return found


def check_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError where the state of a parameter has not the parameter's shape.

    torch does not check it, and a fused step would then write beyond the memory of the tensor.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.shape != parameter.shape:
                raise ValueError(f"{name} of shape {tuple(value.shape)}")
