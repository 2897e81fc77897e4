"""A network as data: the operations that torch traces in it, and its weights, for the JavaScript
that runs it in `page/networks.js`."""

import base64
import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..errors import InvalidInputError, one_line

# fmt: off
# what networks.js computes, by the names of ATen; `scale_shift` is BatchNorm in eval mode
OPERATIONS = frozenset({
    "add", "avg_pool2d", "batch_norm", "cat", "clamp", "conv2d", "conv_transpose2d", "div",
    "embedding", "flatten", "leaky_relu", "linear", "max_pool2d", "mul", "pad", "pixel_shuffle",
    "pixel_unshuffle", "relu", "reshape", "scale_shift", "sigmoid", "silu", "slice", "sub",
    "tanh", "unflatten", "upsample_bilinear2d", "upsample_nearest2d", "view",
})
# what changes no number in eval mode: its first argument stands for it
IDENTITIES = frozenset({
    "alias", "alpha_dropout", "clone", "contiguous", "detach", "detach_", "dropout",
    "feature_dropout", "lift_fresh_copy", "to",
})
CHECKS = frozenset({
    "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size",
})
# arguments that say how torch computes, or that eval mode leaves without effect
LEFT_OUT = frozenset({
    "cudnn_enabled", "momentum", "padding_idx", "running_mean", "running_var",
    "scale_grad_by_freq", "sparse", "training",
})
# fmt: on


def export_network(network: nn.Module, example: Sequence[Tensor], half: bool = True) -> dict:
    """A network in eval mode as a dictionary that JSON can hold.

    example: one tensor for each argument of the network's forward, (B, ...) with B of 2 or more;
    the batch may have any size later. half: whether its matrices and kernels are written at half
    precision; vectors, such as biases, stay float32. The network itself is left as it is.

    Raises `InvalidInputError` where the network does something that networks.js cannot.
    """
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    batch = torch.export.Dim("batch")
    inputs = tuple(tensor.cpu() for tensor in example)
    try:
        program = torch.export.export(network, inputs, dynamic_shapes=({0: batch},) * len(inputs))
    except Exception as error:  # whatever torch finds untraceable
        reason = one_line(error)[:200]
        told = f"{type(network).__name__}: cannot be traced for the page ({reason})"
        raise InvalidInputError(told) from None
    writer = Writer(named_weights(program), half)
    for node in program.graph.nodes:
        if node.op == "call_function":
            writer.add(node)
    return writer.finish(
        list(program.graph_signature.user_inputs), program.graph_signature.user_outputs[0]
    )


def named_weights(program: torch.export.ExportedProgram) -> dict[str, Tensor]:
    """The weights by the names that they have in the program's graph."""
    signature = program.graph_signature
    homes = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tensors = {**program.state_dict, **program.constants}
    found = {name: tensors[home] for name, home in homes.items()}
    constants = signature.inputs_to_lifted_tensor_constants
    return found | {name: tensors[home] for name, home in constants.items()}


class Writer:
    """Collects operations and the weights that they use."""

    def __init__(self, constants: dict[str, Tensor], half: bool) -> None:
        self.constants, self.half = constants, half
        self.nodes: list[dict[str, Any]] = []
        self.weights: dict[str, dict[str, Any]] = {}
        self.bytes = bytearray()
        self.same: dict[str, str] = {}  # nodes that stand for another

    def add(self, node: fx.Node) -> None:
        """Write one operation down, with all arguments that matter by name.

        What depends on weights alone is computed here, once.
        """
        name = getattr(node.target, "_opname", getattr(node.target, "__name__", str(node.target)))
        if name in CHECKS or name == "sym_size":  # the size of the batch, which `written` names
            return
        if all(source.name in self.constants for source in node.all_input_nodes):
            self.constants[node.name] = self.computed(node)
            return
        arguments = named_arguments(node)
        if name in IDENTITIES:
            self.same[node.name] = self.written(next(iter(arguments.values())))[1:]
            return
        if name == "batch_norm" and not arguments["training"]:
            name, arguments = "scale_shift", self.folded(node.name, arguments)
        if name not in OPERATIONS:
            rule = f"the page computes only {', '.join(sorted(OPERATIONS))}"
            raise InvalidInputError(f"operation {name}: {rule}")
        written = {key: self.written(v) for key, v in arguments.items() if key not in LEFT_OUT}
        self.nodes.append({"name": node.name, "op": name, "args": written})

    def computed(self, node: fx.Node) -> Tensor:
        """The value of an operation on weights."""
        given: Any = fx.node.map_arg((node.args, node.kwargs), lambda n: self.constants[n.name])
        operation: Any = node.target
        return operation(*given[0], **given[1])

    def folded(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """BatchNorm's statistics and weights as one scale and one shift per channel."""
        mean, variance, weight, bias = (
            None if (node := arguments[key]) is None else self.constants[node.name].double()
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        assert mean is not None and variance is not None
        scale = (variance + arguments["eps"]).rsqrt()
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        parts = {"scale": scale, "shift": shift}
        references = {key: self.constant(f"{name}_{key}", value) for key, value in parts.items()}
        return {"input": arguments["input"], **references}

    def written(self, value: Any) -> Any:
        """An argument as JSON: tensors as "%" and their name, the batch's size as "@batch"."""
        if isinstance(value, fx.Node):
            if isinstance(value.meta.get("val"), torch.SymInt):
                return "@batch"
            if value.name in self.constants:
                return self.constant(value.name, self.constants[value.name])
            return "%" + self.same.get(value.name, value.name)
        if isinstance(value, list | tuple):
            return [self.written(item) for item in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise InvalidInputError(f"argument {value!r}: the page knows numbers, texts and tensors")

    def constant(self, name: str, tensor: Tensor) -> str:
        """Store a weight, if it is not yet, and return its reference."""
        if name not in self.weights:
            half = self.half and tensor.ndim > 1
            self.weights[name] = {
                "shape": list(tensor.shape),
                "type": "float16" if half else "float32",
                "offset": len(self.bytes),
            }
            array = tensor.detach().cpu().numpy().astype("<f2" if half else "<f4")
            if not np.isfinite(array).all():
                told = f"{name}: largest weight {tensor.abs().max():g}"
                raise InvalidInputError(f"{told}: must be finite at the page's precision")
            self.bytes += array.tobytes()
        return "%" + name

    def finish(self, inputs: list[str], output: str) -> dict[str, Any]:
        return {
            "inputs": inputs,
            "nodes": self.nodes,
            "output": self.same.get(output, output),
            "weights": self.weights,
            "data": base64.b64encode(self.bytes).decode(),
        }


def named_arguments(node: fx.Node) -> dict[str, Any]:
    """All arguments of an operation by name, defaults included."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        raise InvalidInputError(f"operation {node.target}: the page computes only those of ATen")
    return {
        argument.name: node.args[i]
        if i < len(node.args)
        else node.kwargs.get(argument.name, argument.default_value)
        for i, argument in enumerate(schema.arguments)
    }


def halved(network: nn.Module) -> nn.Module:
    """A copy of a network whose matrices and kernels are rounded to half precision, as
    `export_network` rounds them."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.copy_(weights.half())
    return network
