"""`RunFolder`: what a run leaves on disk, and how it is found again."""

import contextlib
import dataclasses
import io
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from ..data.digits import Digits
from ..data.spec import ImageSpec
from ..data.tables import write_csv
from ..errors import InvalidInputError, RunFolderError
from ..files import atomic_write, read_small_file, user_path
from ..hyperparameters import Hyperparameters
from ..streams import tell
from .lock import FolderLock, check_room
from .weights import save_generator, save_weights

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CHECKPOINTS = (
    "checkpoint.new.pt",
    "checkpoint.pt",
    "checkpoint.previous.pt",
)  # a kill may leave a new one


class RunFolder:
    """The folder of a run. Nothing is written before `locked`."""

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path)
        try:
            str(self.path).encode()
        except UnicodeEncodeError:  # TensorBoard's library, too, knows no others
            told = f"run_dir = {str(path)!a}: must be a name in UTF-8"
            raise InvalidInputError(told) from None
        self._lock = FolderLock(self.path)
        self._board: SummaryWriter | None = None

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder for this process alone; it is free again when the process ends, however
        it does.

        Raises `RunFolderError` where another one trains in it.
        """
        return self._lock.held()

    @contextlib.contextmanager
    def telling_os_errors(self) -> Iterator[None]:
        """Turn an OSError about this folder (a full disk, no permission) into a
        `RunFolderError`."""
        try:
            yield
        except OSError as error:
            path = Path(error.filename or self.path).resolve()
            if not path.is_relative_to(self.path.resolve()):  # somebody else's: a callback's, say
                raise
            reason = f"cannot be written ({error.strerror or error}); training stopped"
            hint = "train() continues from the last checkpoint there"
            raise RunFolderError(f"{self.path}: {reason}, {hint}") from None

    def check(self) -> None:
        """Before an epoch is written: the folder must still be the one that was locked, with room
        in it.

        Raises `RunFolderError` where it was deleted or moved away, OSError where the disk is full.
        """
        if not self._lock.is_there():
            raise RunFolderError(f"{self.path} was deleted or moved while training: stopped")
        check_room(self.path)

    # ---- hyperparameters and checkpoints ----

    def read_spec(self) -> ImageSpec | None:
        """What the images of the run in this folder are; None where it has not been written."""
        path = self.path / "images.json"
        try:
            return ImageSpec.from_json(read_small_file(path)) if path.is_file() else None
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from None

    def check_or_write_hyperparameters(
        self, hyperparameters: Hyperparameters, spec: ImageSpec
    ) -> None:
        """Write down what the run computes, and on what images, or refuse a folder that holds a run
        with other hyperparameters, or on others."""
        path = self.path / "hyperparameters.json"
        if path.is_file():
            refuse_others(self.path, Hyperparameters.from_json(path), hyperparameters)
        else:
            self.load_checkpoint(hyperparameters)  # one without its JSON file may be of another run
            atomic_write(path, hyperparameters.to_json().encode())
        if (found := self.read_spec()) and found != spec:
            told = f"{self.path} holds a run on {found}, asked for {spec}"
            raise RunFolderError(f"{told}: choose another run_dir, or delete that one")
        if not found:
            atomic_write(self.path / "images.json", spec.to_json().encode())

    def save_checkpoint(
        self, parts: Mapping[str, Any], values: Mapping[str, Any], hyperparameters: Hyperparameters
    ) -> None:
        """Write the states of networks and optimisers by name, and plain values, as
        `checkpoint.pt`.

        It appears in one step; the one before stays as `checkpoint.previous.pt`.
        """
        self.check()
        new, last, previous = (self.path / name for name in CHECKPOINTS)
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {**values, "hyperparameters": dataclasses.asdict(hyperparameters)}
        content = io.BytesIO()
        torch.save(state, content)
        atomic_write(new, content.getbuffer())
        if last.exists():
            os.replace(last, previous)
        os.replace(new, last)

    def load_checkpoint(self, hyperparameters: Hyperparameters) -> dict[str, Any] | None:
        """The content of the last whole checkpoint, on the CPU, or None where there is none.

        Each byte is checked, and nothing is unpickled but tensors and plain values. Raises
        `RunFolderError` where there are checkpoints and none can be read, or the one that can is of
        other hyperparameters.
        """
        paths = [self.path / name for name in CHECKPOINTS if (self.path / name).is_file()]
        for path in paths:
            try:
                state, found = read_checkpoint(path)
            except Exception as error:  # the one before is whole
                code = isinstance(error, pickle.UnpicklingError)
                reason = "it holds code" if code else str(error).split("\n")[0]
                tell(f"{path} cannot be read ({reason})", error=True)
                continue
            refuse_others(path, Hyperparameters.from_dict(found), hyperparameters)
            return state
        if paths:
            hint = "delete the folder to start again"
            raise RunFolderError(f"{self.path}: none of its checkpoints can be read; {hint}")
        return None

    # ---- what people look at ----

    @contextlib.contextmanager
    def tensorboard(self, step: int) -> Iterator[None]:
        """Log to TensorBoard within; what a stopped run logged from that step on is hidden."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        with SummaryWriter(str(self.path / "tensorboard"), purge_step=step) as self._board:
            yield

    def log(self, step: int, scalars: Mapping[str, float], pictures: Mapping[str, Digits]) -> None:
        """Numbers by name, and grids of digits by name, for TensorBoard."""
        if self._board is None:
            return
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        for name, digits in pictures.items():
            grid = np.asarray(digits.grid(columns=digits.spec.columns))
            self._board.add_image(name, grid, step, dataformats="HWC"[: grid.ndim])
        self._board.flush()

    def save_epoch(
        self, history: list[dict[str, float]], progress: Digits, real: Digits, step: int
    ) -> None:
        """Write the table of all epochs so far, and the picture of the last, here and for
        TensorBoard."""
        self.check()
        columns = progress.spec.columns if (progress.labels >= 0).all() else None
        path = self.path / "progress" / f"{len(history):03}.png"
        progress.save(path, inverted=True, columns=columns)
        write_csv(self.path / "history.csv", history)
        self.log(step, history[-1] if history else {}, {"generated": progress, "real": real})

    def save_snapshot(self, epoch: int, generator: nn.Module, discriminator: nn.Module) -> None:
        """Keep the weights of both networks after an epoch, in `weights/`."""
        place = self.path / "weights"
        save_generator(generator, place / f"{epoch:03}-generator.safetensors")
        save_weights(place / f"{epoch:03}-discriminator.safetensors", discriminator.state_dict())

    def save_progression(self, epochs: int) -> None:
        """Write `progression.gif` of the pictures after 0, 1, ..., `epochs` epochs."""
        frames = [self.path / "progress" / f"{epoch:03}.png" for epoch in range(epochs + 1)]
        progression_gif(frames, self.path / "progression.gif")


def refuse_others(place: Path, found: Hyperparameters, expected: Hyperparameters) -> None:
    """Raise `RunFolderError` with the first field in which two runs differ."""
    for name, value in vars(expected).items():
        if value != getattr(found, name):
            raise RunFolderError(
                f"{place} holds a run with {name} = {getattr(found, name)!r}, asked for {value!r}: "
                "choose another run_dir, or delete that one"
            )


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the state, the fields of its hyperparameters) of a checkpoint whose every byte is sound."""
    with zipfile.ZipFile(path) as archive:
        packed = any(part.compress_type for part in archive.infolist())
        if (
            packed or archive.testzip()
        ):  # torch never packs: there is no telling how large it would be
            raise ValueError("damaged")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state, dict(state["hyperparameters"])


def progression_gif(frames: list[Path], path: Path, seconds: float = 6.0) -> None:
    """Write pictures named <epoch>.png as a GIF of about `seconds` that rests on the last."""
    font, pages = ImageFont.load_default(size=16), []
    for frame in frames:
        file = Image.open(frame)
        picture = file.convert("RGB" if file.mode == "RGB" else "L")
        page = Image.new(picture.mode, (picture.width, picture.height + 26), "white")
        page.paste(picture, (0, 26))
        ImageDraw.Draw(page).text((6, 3), f"epoch {int(frame.stem)}", fill="#3c3c3c", font=font)
        pages.append(np.asarray(page))
    each = max(60, min(500, 1000 * seconds / len(pages)))  # milliseconds
    durations = [each] * (len(pages) - 1) + [2500] if len(pages) > 1 else 2500
    content = iio.imwrite("<bytes>", pages, extension=".gif", duration=durations, loop=0)
    atomic_write(path, content)
