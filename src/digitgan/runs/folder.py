"""What a run leaves in its folder, and how it is found again: plain functions of a path."""

import contextlib
import dataclasses
import errno
import io
import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import torch
from filelock import FileLock, Timeout

from ..common import Mistake, write_whole
from ..hyperparameters import Hyperparameters


@contextlib.contextmanager
def lock(folder):
    """Hold the folder for this process alone; it is free again when the process ends, however it does. Gives what tells
    this folder from one made anew in its place.

    Raises `Mistake` where another one trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / ".lock", timeout=0)
    try:
        held.acquire()
    except Timeout:
        raise Mistake(f"{folder}: another process trains in it; wait for its end, or choose another run_dir") from None
    try:
        yield (folder / ".lock").stat().st_ino
    finally:
        held.release()


def claim(folder, hyperparameters):
    """Write down what was asked, or refuse a folder that holds a run with other hyperparameters."""
    path = folder / "hyperparameters.json"
    if path.is_file():
        _refuse_others(folder, vars(Hyperparameters.from_json(path)), hyperparameters)
    else:
        load_checkpoint(folder, hyperparameters)  # one without its hyperparameters.json may be of another run
        write_whole(path, hyperparameters.to_json().encode())


def _refuse_others(folder, found, hyperparameters):
    for name, asked in vars(hyperparameters).items():
        if asked != found[name]:
            raise Mistake(
                f"{folder} holds a run with {name} = {found[name]!r}, asked for {asked!r}: "
                "choose another run_dir, or delete that one"
            )


def still_there(folder, held):
    """Raises `Mistake` where the folder that was `held` has been deleted or moved away: it is not made anew, half of it
    gone; OSError where less than a megabyte is left, before half an epoch is written."""
    if not (folder / ".lock").exists() or (folder / ".lock").stat().st_ino != held:
        raise Mistake(f"{folder} was deleted or moved while training: stopped")
    if shutil.disk_usage(folder).free < 1_000_000:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_checkpoint(folder, state, hyperparameters):
    """`checkpoint.pt` in one step; the one before stays as `checkpoint.previous.pt`."""
    path, new, content = folder / "checkpoint.pt", folder / "checkpoint.new.pt", io.BytesIO()
    torch.save(state | {"hyperparameters": dataclasses.asdict(hyperparameters)}, content)
    write_whole(new, content.getbuffer())
    if path.exists():
        os.replace(path, folder / "checkpoint.previous.pt")
    os.replace(new, path)


def load_checkpoint(folder, hyperparameters):
    """The state of the last whole checkpoint, on the CPU, or None where there is none.

    Each byte is checked (a zip archive's checksums), and nothing is unpickled but tensors and plain values. Raises
    `Mistake` where there are checkpoints and none can be read, or the one that can is of other hyperparameters.
    """
    names = "checkpoint.new.pt", "checkpoint.pt", "checkpoint.previous.pt"  # a kill may leave a new one unplaced
    paths = [folder / name for name in names if (folder / name).is_file()]
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                if any(part.compress_type for part in archive.infolist()) or archive.testzip():
                    raise ValueError("damaged")  # or packed, as torch never does: there is no telling how large it is
            state = torch.load(path, map_location="cpu", weights_only=True)
            found = dict(state["hyperparameters"])
        except Exception as error:  # the one before is whole
            reason = "it holds code" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
            print(f"{path} cannot be read ({reason})", file=sys.stderr)
            continue
        _refuse_others(path, vars(Hyperparameters.from_dict(found)), hyperparameters)  # older ones may lack a field
        return state
    if paths:
        raise Mistake(f"{folder}: none of its checkpoints can be read; delete the folder to start again")
    return None


def tensorboard(folder, step):
    """A writer, to be closed; what an abandoned run logged from that step on is hidden."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)


def log_to_tensorboard(writer, step, scalars, pictures):
    """Numbers by name, and grids of `Digits` by name, at a step."""
    for name, value in scalars.items():
        writer.add_scalar(name, value, step)
    for name, digits in pictures.items():
        writer.add_image(name, np.asarray(digits.grid(columns=10)), step, dataformats="HW")
    writer.flush()
