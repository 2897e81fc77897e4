"""The networks in JavaScript compute what torch computes: every operation, every shipped generator
(1,000 digits each), and the classifier on all test digits. Skipped where there is no Node.js."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import pad

from digitgan import SYSTEMS, InvalidInputError, load_digits, load_generator
from digitgan.app.network_export import OPERATIONS, export_network, halved
from digitgan.app.page import PAGE, export_generator, recogniser
from digitgan.evaluation.classifier import load_classifier
from digitgan.files import ASSET
from digitgan.models import build, to_pixels

NETWORKS = PAGE / "networks.js"
GENERATORS = sorted(
    path for path in (ASSET / "pretrained").glob("*.safetensors") if "-encoder" not in path.stem
)
PROGRAM = """
import { readFileSync } from "fs";
import { loadNetwork, run, tensor } from ADDRESS;
const { network, inputs, chunk } = JSON.parse(readFileSync(0, "utf8"));
const loaded = loadNetwork(network), total = inputs[0].shape[0];
const numbers = inputs.map(({ data }) => new Float32Array(Uint8Array.from(atob(data),
  (c) => c.charCodeAt(0)).buffer));
for (let start = 0; start < total; start += chunk) {
  const end = Math.min(start + chunk, total);
  const given = inputs.map(({ shape }, i) => {
    const size = numbers[i].length / total;
    return tensor([end - start, ...shape.slice(1)], numbers[i].slice(start * size, end * size));
  });
  process.stdout.write(Buffer.from(run(loaded, ...given).data.buffer));
}
"""
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js here")


def in_javascript(network, *inputs, chunk=100):
    """What networks.js returns for tensors, `chunk` rows at a time."""

    given = [
        {
            "shape": list(tensor.shape),
            "data": base64.b64encode(tensor.numpy().astype("<f4").tobytes()).decode(),
        }
        for tensor in inputs
    ]
    program = PROGRAM.replace("ADDRESS", json.dumps(NETWORKS.as_uri()))
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        input=json.dumps({"network": network, "inputs": given, "chunk": chunk}).encode(),
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return torch.from_numpy(np.frombuffer(done.stdout, "<f4").copy())


class Functions(nn.Module):
    """Operations that no layer of its own stands for."""

    def forward(self, x):
        a, b = x[:, :2], x[:, 2:]
        x = torch.cat([a * b - 0.5, (a + b) / 2], 1)
        x = pad(x, (1, 0, 0, 1)) + pad(x, (0, 1, 1, 0), mode="replicate")
        x = pad(x, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1:2]
        weights = torch.tensor([[1.0, -1.0, 2.0]]) @ torch.eye(3)  # computed when exported
        return x.reshape(x.shape[0], -1, 3, 3)[:, :, :2].clamp(-2, 2) * weights


# one small network per operation or variant; each takes (B, 4, 6, 6)
SMALL = {
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(144, 7), nn.Unflatten(1, (7, 1, 1))),
    "linear without bias": nn.Sequential(nn.Flatten(), nn.Linear(144, 5, bias=False)),
    "convolution": nn.Conv2d(4, 6, 3, padding=1),
    "strided, grouped, dilated": nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), groups=2),
    "transposed": nn.ConvTranspose2d(4, 5, 4, 2, 1),
    "transposed, grouped, padded": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, bias=False),
    "transposed, dilated": nn.ConvTranspose2d(4, 3, 2, 1, 0, dilation=2),
    "batch norm": nn.BatchNorm2d(4),
    "batch norm without weights": nn.BatchNorm2d(4, affine=False),
    "batch statistics": nn.BatchNorm2d(4, track_running_stats=False, eps=1e-3),
    "activations": nn.Sequential(nn.LeakyReLU(0.2), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.ReLU()),
    "pixel shuffle": nn.PixelShuffle(2),
    "pixel unshuffle": nn.PixelUnshuffle(3),
    "maximum": nn.MaxPool2d(3, 2, 1),
    "maximum, rounded up": nn.MaxPool2d(3, 2, ceil_mode=True),
    "average": nn.AvgPool2d(2),
    "average, padded": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "bilinear to a size": nn.Upsample((9, 11), mode="bilinear"),
    "bilinear, corners aligned": nn.Upsample((9, 11), mode="bilinear", align_corners=True),
    "bilinear by a factor": nn.Upsample(scale_factor=2.5, mode="bilinear"),
    "nearest": nn.Upsample(scale_factor=2),
    "dropout": nn.Sequential(nn.Dropout(0.3), nn.Dropout2d(0.3), nn.Identity(), nn.ReLU()),
    "functions": Functions(),
}


@needs_node
@pytest.mark.parametrize("name", SMALL)
def test_each_operation_computes_what_torch_computes(name):
    torch.manual_seed(0)
    network, x = SMALL[name], torch.randn(5, 4, 6, 6)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats:
                layer.running_mean.normal_(), layer.running_var.uniform_(0.1, 2)
            if isinstance(layer, nn.BatchNorm2d) and layer.affine:
                layer.weight.normal_(), layer.bias.normal_()
        expected = network.eval()(x)
    found = in_javascript(export_network(network, (torch.randn(3, 4, 6, 6),), half=False), x)
    assert torch.allclose(found.reshape(expected.shape), expected, atol=2e-6)


def apart(generator, count, chunk=100):
    """The largest difference between torch's pixels and those of networks.js in some digits."""
    z = generator.draw_latents(count, torch.Generator().manual_seed(0))
    y = torch.arange(count) % 10
    found = in_javascript(export_generator(generator), z, y, chunk=chunk).reshape(-1, 1, 28, 28)
    chunks = zip(z.split(chunk), y.split(chunk), strict=True)  # a digit may depend on its batch
    with torch.inference_mode():
        expected = torch.cat([generator(*chunk) for chunk in chunks])
    assert to_pixels(expected).float().std() > 10  # there is something to see
    return (to_pixels(found).int() - to_pixels(expected).int()).abs().max()


@needs_node
@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.stem)
def test_every_shipped_generator_makes_the_same_pixels(path):
    most = apart(load_generator(path), 1000)
    print(f"{path.stem}: at most {most} of 255 apart")
    assert most <= 2


@needs_node
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_networks_of_every_system_make_the_same_pixels(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = build(SYSTEMS[name])[0].train()
        with torch.no_grad():
            for _ in range(3):  # the statistics of BatchNorm
                generator(generator.draw_latents(50), torch.arange(50) % 10)
            weights = [value for value in generator.eval().parameters() if value.ndim > 1]
            z, y = generator.draw_latents(50), torch.arange(50) % 10
            while to_pixels(generator(z, y)).float().std() < 20:  # an untrained one is nearly grey
                for value in weights:
                    value.mul_(1.5)
    assert apart(generator, 40, chunk=20) <= 2


@needs_node
def test_the_classifier_agrees_with_pythons_on_the_test_digits(torture):
    classifier, test = load_classifier(), load_digits(train=False)
    images = torch.from_numpy(test.images).unsqueeze(1).float() / 255  # (10000, 1, 28, 28)
    network = export_network(recogniser(classifier), (images[:2],))
    with torch.inference_mode():
        logits = torch.cat([recogniser(classifier)(batch) for batch in images.split(1000)])
    best = logits.topk(2).values  # (10000, 2)
    doubtful = (best[:, 0] - best[:, 1]).argsort()[: 10_000 if torture else 300]
    predicted = in_javascript(network, images[doubtful]).reshape(-1, 10).argmax(1)
    apart = (predicted != logits.argmax(1)[doubtful]).sum()
    print(f"of the {len(doubtful)} most doubtful test digits, {apart} are classified otherwise")
    assert apart <= 10  # of 10,000: the clear ones are not reached by rounding


def test_python_and_javascript_know_the_same_operations():
    table = NETWORKS.read_text().split("const OPERATIONS = {")[1].split("\n};")[0]
    assert set(re.findall(r"^  (\w+)[:,]", table, re.M)) == OPERATIONS


def test_what_the_page_cannot_compute_is_refused_in_one_line():
    with pytest.raises(InvalidInputError, match=r"operation gelu: .*conv2d") as told:
        export_network(nn.Sequential(nn.Linear(3, 3), nn.GELU()), (torch.zeros(2, 3),))
    assert "\n" not in str(told.value)

    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(InvalidInputError, match="Branching: cannot be traced"):
        export_network(Branching(), (torch.zeros(2, 3),))
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(1e6)
    with pytest.raises(InvalidInputError, match="largest weight 1e"):
        export_network(layer, (torch.zeros(2, 2),))


def test_exporting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_network(network, (torch.randn(4, 3),))
    assert network.training and network[0].weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_halved_rounds_as_the_export_does():
    layer = nn.Linear(4, 4)
    rounded = halved(layer)
    assert torch.equal(rounded.weight, layer.weight.half().float())
    assert torch.equal(rounded.bias, layer.bias) and not torch.equal(rounded.weight, layer.weight)
