"""What a run leaves in its folder, and how it is found again: plain functions of a path."""

import csv
import io
import os
import sys

import numpy as np
import torch

from .common import Mistake, write_whole
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


def write_history(folder, history):
    """`history.csv`: one row per epoch."""
    table = io.StringIO()
    rows = csv.DictWriter(table, history[0] if history else [])
    rows.writeheader()
    rows.writerows(history)
    write_whole(folder / "history.csv", table.getvalue().encode())


def save_checkpoint(folder, state):
    """`checkpoint.pt` in one step; the one before stays as `checkpoint.previous.pt`."""
    file, path = io.BytesIO(), folder / "checkpoint.pt"
    torch.save(state, file)
    if path.exists():
        os.replace(path, folder / "checkpoint.previous.pt")
    write_whole(path, file.getvalue())


def load_checkpoint(folder, device):
    """The state of the last whole checkpoint, or None. Nothing in it is unpickled but tensors and plain values."""
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        path = folder / name
        if path.is_file():
            try:
                return torch.load(path, map_location=device, weights_only=True)
            except Exception as error:  # cut short by a full disk, say: the one before is whole
                print(f"{path} cannot be read ({str(error).splitlines()[0]})", file=sys.stderr)
    return None


def log_to_tensorboard(folder, step, scalars, pictures):
    """Numbers by name, and grids of `Digits` by name, at a step; what an abandoned run logged beyond it is hidden."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    with SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
        for name, digits in pictures.items():
            writer.add_image(name, np.asarray(digits.grid(columns=10)), step, dataformats="HW")
