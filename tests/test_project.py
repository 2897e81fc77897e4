"""The project itself: what imports what, what importing does, the core's budget, lists that must
agree."""

import ast
import graphlib
import importlib
import importlib.resources
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import digitgan

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "digitgan"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
CORE = "hyperparameters", "models", "losses", "trainer"

# The levels of the project, the lowest first: a file imports from lower ones, and its own folder.
LEVELS = [
    {"streams"},
    {"errors"},
    {"files", "bounds", "aliases"},
    {"hyperparameters"},
    {"data"},
    {"runs"},
    {"losses", "models"},
    {"evaluation"},
    {"trainer"},
    {"systems"},
    {"handwriting"},
    {"app"},
    {"__main__"},
]


def dotted(path):
    """A file's place below the package: ("data", "digits")."""
    return path.relative_to(SOURCE).with_suffix("").parts


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path, with_types=True):
    """The places in the package that a file imports from, those for type checkers alone too."""
    nodes = [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if with_types or not is_for_types(node):
            nodes.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] == "digitgan" for a in node.names), path
        if isinstance(node, ast.ImportFrom):
            assert node.level or node.module.split(".")[0] != "digitgan", path
            if node.level:
                base = dotted(path)[: -node.level]
                module = tuple(node.module.split(".")) if node.module else ()
                names = [()] if module else [(alias.name,) for alias in node.names]
                yield from (base + module + name for name in names)


def level(place):
    found = [i for i, names in enumerate(LEVELS) if place[0] in names]
    assert found, f"{place[0]}: has no level here yet"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(dotted(path)))
def test_imports_run_downward(path):
    here = dotted(path)
    for there in imports(path):
        same_folder = there[0] == here[0] and len(here) > 1
        assert same_folder or level(there) < level(here), f"{here} imports {there}"


def test_files_of_a_folder_do_not_import_each_other_in_a_circle():
    graph = {dotted(path): set(imports(path, with_types=False)) for path in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises where there is one
    assert len(order) >= len(MODULES) > 40


def test_the_order_told_to_contributors_is_that_of_the_levels():
    """Where a name stands left of another, arrows run from the higher level to the lower."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (told,) = re.findall(r"^`app` → .*?(?=\n\n)", text, re.M | re.S)
    groups = [re.findall(r"`(\w+)`", group) for group in told.split("→")]
    named = {name for group in groups for name in group}
    assert named == set().union(*LEVELS) - {"__main__"}
    highest = [max(level((name,)) for name in group) for group in groups]
    lowest = [min(level((name,)) for name in group) for group in groups]
    assert all(low > high for low, high in zip(lowest, highest[1:], strict=False))


# ---- importing ----


def run_python(code, cwd):
    command = [sys.executable, "-W", "error::DeprecationWarning:digitgan", "-c", code]
    told = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_importing_does_nothing_else(tmp_path):
    out = run_python(
        "import sys, digitgan\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "import torch; before = torch.get_rng_state()\n"
        "[getattr(digitgan, name) for name in digitgan.__all__]\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n",
        tmp_path,
    )
    assert out == "" and not list(tmp_path.iterdir())


def test_the_core_and_the_systems_import_neither_figures_nor_widgets(tmp_path):
    """Nor does anything that they import."""
    names = ", ".join(f"digitgan.{name}" for name in (*CORE, "systems"))
    heavy = {"matplotlib", "ipywidgets", "anywidget", "IPython", "papermill"}
    run_python(
        f"import sys, {names}\nfound = {heavy} & set(sys.modules)\nassert not found, found",
        tmp_path,
    )


# ---- public names ----


def test_public_names_are_there_and_documented():
    for name in digitgan.__all__:
        assert name == "SYSTEMS" or getattr(digitgan, name).__doc__, name


def test_what_editors_see_is_what_python_finds():
    """The names under TYPE_CHECKING, against the table of names that are imported when used."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (block,) = filter(is_for_types, tree.body)
    seen = {}
    for node in block.body:
        assert node.level == 1 and all(alias.asname == alias.name for alias in node.names)
        seen |= {alias.name: node.module for alias in node.names}
    assert seen == digitgan._HOME
    assert sorted(seen) == sorted(digitgan.__all__) == sorted(dir(digitgan))
    for name, home in seen.items():
        module = importlib.import_module(f"digitgan.{home}")
        assert getattr(digitgan, name) is getattr(module, name)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("from digitgan import Tr", "Trainer"),
        ("from digitgan import Trainer\nTrainer().tr", "train"),
        ("from digitgan import Trainer\nTrainer().train_s", "train_step"),
        ("import digitgan\ndigitgan.Hyperparameters().ep", "epochs"),
        ("import digitgan\ndigitgan.load_gen", "load_generator"),
        ("from digitgan import load_digits\nload_digits().lab", "labels"),
    ],
)
def test_an_editor_completes(code, name, tmp_path, monkeypatch):
    jedi = pytest.importorskip("jedi")
    # of its own: a cache that another process is writing is read as a broken one
    monkeypatch.setattr(jedi.settings, "cache_directory", str(tmp_path))
    project = jedi.Project(ROOT, added_sys_path=[str(SOURCE.parent)])
    completions = jedi.Script(code, project=project).complete()
    assert name in [completion.name for completion in completions]


def test_type_checkers_are_told_that_there_are_annotations():
    assert (importlib.resources.files("digitgan") / "py.typed").is_file()


# ---- the core ----


def test_the_core_keeps_its_budget():
    """Four files that are read in one sitting. Complexity is held by ruff."""
    lines = {name: (SOURCE / f"{name}.py").read_text().splitlines() for name in CORE}
    assert sum(map(len, lines.values())) <= 750
    for name in CORE:
        assert max(map(len, lines[name])) <= 100, name
        for node in ast.walk(ast.parse("\n".join(lines[name]))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{name}.{node.name}"


def test_the_core_names_no_older_system():
    """What an older system does differently is in its own file."""
    from digitgan import SYSTEMS

    older = set(SYSTEMS) - {"cdcgan", "dcgan"}  # the latter is the name of an architecture too
    for name in CORE:
        tree = ast.parse((SOURCE / f"{name}.py").read_text())
        words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert not words & older, name


# ---- lists that must agree ----


def test_environment_and_pyproject_agree():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    text = (ROOT / "environment.yml").read_text()
    other = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
    found = re.findall(r"^  - ([a-z-]+)(>=[\d.]+)$", text, re.M)
    conda = {other.get(name, name): rule for name, rule in found}
    pip = dict(re.fullmatch(r"([a-z]+)(.*)", line).groups() for line in listed)
    assert conda.pop("python") == ">=3.10"
    assert pip.pop("prdc")  # not on conda-forge: the last line of environment.yml brings it
    assert conda == pip
    assert "- -e ." in text


def test_tests_lie_where_the_source_does():
    """A folder of tests is one of the source, or holds tests of the whole."""
    whole = {"robustness", "notebooks", "browser"}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders - whole <= {path.name for path in SOURCE.iterdir() if path.is_dir()}
    for path in (ROOT / "tests").glob("test_*.py"):
        name = path.stem.removeprefix("test_")
        assert name == "project" or (SOURCE / f"{name}.py").is_file(), path.name


# ---- what pip installs ----

INSTALLED = """
import digitgan as d

digits = d.generate(d.load_generator(), [y % 10 for y in range(200)], seed=0)
d.write(d.load_generator("cdcgan-multiply"), "42").save("42.png")
hyperparameters = d.Hyperparameters(epochs=1, images_per_epoch=64)
print(d.__file__, len(d.Trainer(hyperparameters, "runs/own", digits=digits).train()))
"""


def test_an_installed_package_carries_what_it_needs(tmp_path):
    """Without the repository it writes and trains; MNIST is what it downloads."""
    carried = re.findall(r'^"(asset/\S+)" = "(\S+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(carried) == 2
    site, place = tmp_path / "site", tmp_path / "elsewhere"
    place.mkdir()
    for source, target in [("src/digitgan", "digitgan"), *carried]:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, site / target)
    environment = os.environ | {"PYTHONPATH": str(site), "HOME": str(tmp_path / "home")}
    told = subprocess.run(
        [sys.executable, "-c", INSTALLED], cwd=place, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.split()[-2:] == [str(site / "digitgan" / "__init__.py"), "1"]
    assert {path.name for path in place.iterdir()} == {"42.png", "runs"}
