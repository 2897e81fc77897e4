"""The house itself: what imports what, what importing does, and lists that must agree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import digitgan

ROOT = Path(__file__).parents[1]
FLOORS = """
    common console hyperparameters digits ancestors models objectives handwriting figures runfolder trainer
    reader scorecard widgets notebooks cli __main__
""".split()


def test_a_file_imports_only_from_the_floors_below_it():
    for path in (ROOT / "src/digitgan").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and path.stem != "__init__":
                for room in [node.module] if node.module else [alias.name for alias in node.names]:
                    assert FLOORS.index(room) < FLOORS.index(path.stem), f"{path.stem} imports {room}"


def test_importing_does_nothing_else(tmp_path):
    code = (
        "import sys, digitgan\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "import torch; before = torch.get_rng_state()\n"
        "[getattr(digitgan, name) for name in digitgan.__all__]\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "" and not list(tmp_path.iterdir())


def test_public_names_are_there_and_documented():
    for name in digitgan.__all__:
        assert name == "SYSTEMS" or getattr(digitgan, name).__doc__, name


def test_environment_and_pyproject_agree():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    conda = re.findall(r"^  - ([a-z-]+)(>=[\d.]+)$", (ROOT / "environment.yml").read_text(), re.M)
    conda = {{"pytorch": "torch", "matplotlib-base": "matplotlib"}.get(name, name): rule for name, rule in conda}
    pip = {re.match(r"[a-z]+", line)[0]: line[len(re.match(r"[a-z]+", line)[0]) :] for line in listed}
    assert conda.pop("python") == ">=3.10"
    assert pip.pop("prdc")  # not on conda-forge: the last line of environment.yml brings it
    assert conda == pip
    assert "- -e ." in (ROOT / "environment.yml").read_text()


def test_the_source_stays_thin():
    lines = {path.stem: len(path.read_text().splitlines()) for path in (ROOT / "src/digitgan").glob("*.py")}
    assert sum(lines[name] for name in ("hyperparameters", "models", "objectives", "trainer")) <= 900
    assert sum(lines.values()) <= 3020
