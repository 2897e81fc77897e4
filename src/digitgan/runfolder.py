"""What a run leaves in its folder, and how it is found again: plain functions of a path."""

import os
import sys

import numpy as np
import torch

from .common import Mistake, whole_file, write_whole
from .hyperparameters import Hyperparameters


def claim(folder, hyperparameters):
    """Write down what was asked, or refuse a folder that holds a run with other hyperparameters."""
    path = folder / "hyperparameters.json"
    if not path.is_file():
        write_whole(path, hyperparameters.to_json().encode())
        return
    found = Hyperparameters.from_json(path)
    for name, asked in vars(hyperparameters).items():
        if asked != getattr(found, name):
            raise Mistake(
                f"{folder} holds a run with {name} = {getattr(found, name)!r}, asked for {asked!r}: "
                "choose another run_dir, or delete that one"
            )


def save_checkpoint(folder, state):
    """`checkpoint.pt` in one step; the one before stays as `checkpoint.previous.pt`."""
    path, new = folder / "checkpoint.pt", folder / "checkpoint.new.pt"
    with whole_file(new) as file:
        torch.save(state, file)
    if path.exists():
        os.replace(path, folder / "checkpoint.previous.pt")
    os.replace(new, path)


def load_checkpoint(folder):
    """The state of the last whole checkpoint, on the CPU, or None where there is none. Nothing in it is unpickled but
    tensors and plain values. Raises `Mistake` where there are checkpoints and none can be read."""
    paths = [folder / name for name in ("checkpoint.pt", "checkpoint.previous.pt") if (folder / name).is_file()]
    for path in paths:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged: the one before is whole
            print(f"{path} cannot be read ({str(error).splitlines()[0]})", file=sys.stderr)
            if path != paths[-1]:
                path.unlink()
    if paths:
        raise Mistake(f"{folder}: none of its checkpoints can be read; delete the folder to start again")
    return None


def log_to_tensorboard(folder, step, scalars, pictures):
    """Numbers by name, and grids of `Digits` by name, at a step; what an abandoned run logged beyond it is hidden."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    with SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
        for name, digits in pictures.items():
            writer.add_image(name, np.asarray(digits.grid(columns=10)), step, dataformats="HW")
