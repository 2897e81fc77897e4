"""Weights as safetensors files, which hold no code, and are checked before they are used."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import DigitganError, InvalidInputError, one_line, short_repr
from ..files import atomic_write, user_path
from ..hyperparameters import Hyperparameters
from .torch_modes import ordinary_torch

MOST_BYTES, MOST_HEADER = 2**28, 2**20  # more than any hyperparameters ask for
Network = TypeVar("Network", bound=nn.Module)


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors by name as a safetensors file, with texts by name as its metadata.

    The same tensors and texts give the same bytes: safetensors itself orders texts at random.
    """
    content = save({name: tensor.contiguous() for name, tensor in weights.items()})
    size = int.from_bytes(content[:8], "little")
    header = ({"__metadata__": metadata} if metadata else {}) | json.loads(content[8 : 8 + size])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    atomic_write(path, len(text).to_bytes(8, "little") + text + content[8 + size :])


def as_generator(network: Any) -> Any:
    """The `Generator` that a network is, or has inside, with float32 weights.

    Generators come compiled (`torch.compile`), averaged (`trainer.averaged`, `AveragedModel`), in
    `DataParallel` and the like. One whose weights are of another type, or were made in inference
    mode, is copied. Raises `InvalidInputError` where there is not exactly one generator inside.
    """
    modules = network.modules() if isinstance(network, nn.Module) else ()
    found = [m for m in modules if isinstance(vars(m).get("hyperparameters"), Hyperparameters)]
    if len(found) != 1:
        told = f"{type(network).__name__} holds {len(found)} generators"
        raise InvalidInputError(f"{told}: must be one, as load_generator() returns it")
    (generator,) = found
    tensors = [t for t in (*generator.parameters(), *generator.buffers()) if t.is_floating_point()]
    if any(t.dtype != torch.float32 or t.is_inference() for t in tensors):
        with ordinary_torch():
            generator = _clone(generator).float()
    return generator


def _clone(network: Network) -> Network:
    """A copy of a network, of ordinary tensors."""
    memo: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        copied = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(copied) if isinstance(tensor, nn.Parameter) else copied
    return copy.deepcopy(network, memo)


def save_generator(generator: nn.Module, path: str | Path, half: bool = False) -> None:
    """Write a generator's weights as safetensors, with its hyperparameters and its images' size,
    channels and classes in the file's metadata.

    generator: any that `generate` takes. half: in half precision, in half the space;
    `load_generator` reads both. Raises `InvalidInputError` where it could not read the file, or
    would read another generator from it: after quantisation or pruning, with weights that are not
    finite, or for one that was loaded from an older version's file.
    """
    inside = as_generator(generator)
    state = inside.state_dict()
    try:
        with ordinary_torch(), torch.random.fork_rng():
            _copy_checked(state, fresh := inside.untrained())
        if str(inside) != str(fresh):  # the same shapes, in layers that compute something else
            told = f"its layers are not those of system = {inside.hyperparameters.system!r}"
            raise ValueError(f"{told} (of an earlier version, or changed)")
    except ValueError as error:
        raise InvalidInputError(f"this generator cannot be saved: {error}") from None
    if half:
        state = {n: w.half() if w.is_floating_point() else w for n, w in state.items()}
    metadata = {"hyperparameters": inside.hyperparameters.to_json()}
    save_weights(path, state, metadata | {"images": inside.spec.to_json()})


@ordinary_torch()
def load_network(
    path: str | Path, build: Callable[[dict[str, str]], Network], what: str
) -> Network:
    """The network that `build(metadata)` returns, with the weights of a safetensors file.

    It is in eval mode, on the CPU. Raises FileNotFoundError where there is no such file, and
    `InvalidInputError` where its weights are not finite numbers under the names and in the shapes
    and types of that network's own; half precision serves for any floating type.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train one first, or pass the path of one")
    try:
        with path.open("rb") as file:
            size, header = path.stat().st_size, int.from_bytes(file.read(8), "little")
        if size > MOST_BYTES or header > MOST_HEADER:
            rule = f"must be at most {MOST_BYTES:,} and {MOST_HEADER:,}"
            raise ValueError(f"{size:,} bytes, a header of {header:,}: {rule}")
        with safe_open(path, "pt") as file:
            with torch.random.fork_rng():
                network = build(file.metadata() or {})
            _copy_checked({name: file.get_tensor(name) for name in file.keys()}, network)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, DigitganError) as error:
        reason = one_line(error)[:300]
        raise InvalidInputError(f"{path}: not {what} ({reason})") from None
    return network.eval()


def _copy_checked(found: dict[str, Tensor], network: nn.Module) -> None:
    expected = network.state_dict()
    if set(found) != set(expected):
        told = f"its tensors are {short_repr(sorted(found))}"
        raise ValueError(f"{told}, must be {short_repr(sorted(expected))}")
    for name, target in expected.items():
        weights = found[name]
        if weights.dtype == torch.float16 and target.is_floating_point():
            weights = weights.to(target.dtype)
        given, rule = (f"{t.dtype} {list(t.shape)}" for t in (weights, target))
        if given != rule or not weights.isfinite().all():
            raise ValueError(f"{name} is {given}, must be finite {rule}")
        target.copy_(weights)
