"""The page: one file whose weights and texts are data, whose script is the widgets' own."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from digitgan import Hyperparameters, load_generator
from digitgan.app import page as pages
from digitgan.data.spec import ImageSpec
from digitgan.files import ASSET
from digitgan.models import build

HOSTILE = "</script><script>document.title=1//<!--"  # a name has 40 characters at most
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js here")


class Blocks(HTMLParser):
    """The scripts and styles of a page: [(tag, attributes, text)]."""

    def __init__(self, text):
        super().__init__()
        self.found, self.policy = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in ("script", "style"):
            self.found.append([tag, attributes, ""])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        assert not any(name.startswith("on") for name in attributes)
        assert not (attributes.get("src") or "").strip()

    def handle_data(self, data):
        if self.found and not self.found[-1][2]:
            self.found[-1][2] = data


def in_node(program):
    done = subprocess.run(
        ["node", "--input-type=module"], input=program.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def small():
    """An untrained generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(Hyperparameters(z_dim=8))[0].eval()


def test_texts_and_weights_are_data(small, tmp_path):
    names = [HOSTILE, *"abc"]
    generator = build(Hyperparameters(z_dim=8), ImageSpec(classes=names))[0]
    text = pages.write_page(generator, tmp_path / "p.html").read_text(encoding="utf-8")
    style, data, script = Blocks(text).found
    assert (style[0], data[0], script[0]) == ("style", "script", "script")
    assert data[1]["type"] == "application/json" and "<" not in data[2]
    content = json.loads(data[2])
    assert content["classes"] == names
    assert set(content["networks"]) == {"generator"}  # and so no pad
    assert script[1] == {"type": "module"} and HOSTILE not in text


def test_the_browser_may_run_the_pages_own_script_only(small, tmp_path):
    text = pages.write_page(small, tmp_path / "p.html").read_text(encoding="utf-8")
    blocks = Blocks(text)
    rules = dict(rule.split(" ", 1) for rule in blocks.policy.split("; "))
    assert rules["default-src"] == "'none'"
    for rule, (_, _, content) in (
        ("style-src", blocks.found[0]),
        ("script-src", blocks.found[2]),
    ):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not re.search(r"https?://|import\(|\beval\b|innerHTML", blocks.found[2][2])


def test_the_shipped_page_is_what_the_command_writes_now():
    text = (ASSET / "picker.html").read_text(encoding="utf-8")
    assert len(text.encode()) <= 3_000_000
    _, data, script = Blocks(text).found
    assert script[2] == pages.bundle([*pages.WIDGETS, "main.js"])
    content, generator = json.loads(data[2]), load_generator()
    assert set(content["networks"]) == {"generator", "classifier", "encoder"}
    assert content["networks"]["generator"] == pages.export_generator(generator)


@needs_node
def test_the_modules_make_one_module(tmp_path):
    path = tmp_path / "whole.mjs"
    path.write_text(pages.bundle([*pages.WIDGETS, "main.js"]), encoding="utf-8")
    done = subprocess.run(["node", "--check", str(path)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not re.search(r"^(import|export) ", path.read_text(encoding="utf-8"), re.M)


@needs_node
@pytest.mark.parametrize("seed", [0, 1, 41, 2**32 - 1])
def test_python_draws_the_pages_latents(seed):
    quantiles = [round(float(q), 4) for q in pages.latent_quantiles(load_generator())]
    address = json.dumps((pages.PAGE / "handwriting.js").as_uri())
    program = f"import {{ drawLatent }} from {address};"
    program += f"console.log(JSON.stringify([...drawLatent({seed}, 64, {quantiles})]))"
    assert np.allclose(in_node(program), pages.page_latent(seed, 64, quantiles), atol=1e-6)


def test_latents_are_distributed_as_the_generator_draws_them():
    quantiles = pages.latent_quantiles(load_generator())
    drawn = np.concatenate([pages.page_latent(seed, 64, quantiles) for seed in range(2000)])
    assert abs(drawn.mean()) < 0.01 and abs(drawn.std() - 1) < 0.01
    assert 0.0015 < (np.abs(drawn) > 3).mean() < 0.004  # 0.0027 of a normal distribution

    class Uniform(torch.nn.Module):
        hyperparameters = Hyperparameters(z_dim=16)

        def draw_latents(self, n, source):
            return torch.rand(n, 16, generator=source) * 2 - 1

    quantiles = pages.latent_quantiles(Uniform())
    assert np.allclose(quantiles, (np.arange(1024) + 0.5) / 512 - 1, atol=0.01)


@needs_node
def test_a_text_is_set_as_python_sets_it():
    from digitgan import write
    from digitgan.data.layout import strip

    digits = write(load_generator(), "74 1056", seed=3)
    address = json.dumps((pages.PAGE / "handwriting.js").as_uri())
    images = [
        {"width": 28, "height": 28, "pixels": image.flatten().tolist()} for image in digits.images
    ]
    program = f"import {{ setLines, joinLines }} from {address};"
    program += (
        f"const {{ width, height, pixels }} = joinLines(setLines({json.dumps(images)}, 90), 28);"
    )
    program += "console.log(JSON.stringify({ width, height, pixels: [...pixels] }))"
    page = in_node(program)
    found = np.array(page["pixels"]).reshape(page["height"], page["width"])
    expected = np.asarray(strip(digits.images, scale=1, width=90))[:, 1:-1]  # margins of 4 and 3
    assert found.shape == expected.shape
    ink = expected > 64  # fainter pixels at the sides of a digit are cut in Python
    assert (found[ink] == expected[ink]).all() and (found[~ink] <= 64).all()


@needs_node
def test_a_drawing_is_prepared_as_python_prepares_it():
    from PIL import Image, ImageDraw

    from digitgan import prepare

    sheet = Image.new("L", (280, 280), 255)
    line = [(70, 60), (205, 56), (185, 120), (140, 235)]
    ImageDraw.Draw(sheet).line(line, fill=0, width=22, joint="curve")
    ink = 255 - np.asarray(sheet)
    address = json.dumps((pages.PAGE / "handwriting.js").as_uri())
    program = f"import {{ prepareDrawing }} from {address};"
    program += f"const ink = Float32Array.from({(ink.flatten() // 255).tolist()});"
    program += "console.log(JSON.stringify([...prepareDrawing(ink, 280, 280)]))"
    found = np.array(in_node(program)).reshape(28, 28) * 255
    expected = prepare(sheet).images[0].astype(float)
    assert np.abs(found - expected).mean() < 2 and np.abs(found - expected).max() < 70


def test_what_half_precision_would_change_is_written_in_full(small):
    assert pages.export_generator(small)["weights"]["p_net_0_weight"]["type"] == "float16"
    first, second = torch.nn.Linear(8, 2, bias=False), torch.nn.Linear(2, 784)
    fragile = torch.nn.Sequential(first, second, torch.nn.Unflatten(1, (1, 28, 28)))
    with torch.no_grad():  # a small difference of large numbers
        first.weight[1] = first.weight[0] + 1e-4 * torch.linspace(-1, 1, 8)
        second.weight[:, 0], second.weight[:, 1] = -1e4, 1e4

    class Fragile(type(small)):
        def __init__(self):
            super().__init__(fragile, Hyperparameters(z_dim=8, conditional=False, aux_weight=0))

    exported = pages.export_generator(Fragile().eval())
    assert exported["weights"]["p_net_0_weight"]["type"] == "float32"


def test_an_unconditional_generator_has_a_page_without_pad(tmp_path):
    path = pages.page(tmp_path / "p.html", "linear")
    content = json.loads(Blocks(path.read_text(encoding="utf-8")).found[1][2])
    assert not content["conditional"] and content["directions"] is None
    assert set(content["networks"]) == {"generator"}
