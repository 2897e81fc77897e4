"""The lessons: each runs with small parameters and is committed executed; the blanks of the
exercises fail with a sentence, their solutions pass; what the lessons stand on does as it says."""

import re
from pathlib import Path

import nbformat
import pytest
import torch
from notebooks.test_notebooks import assert_executed_and_tidy, execute
from torch import nn
from torch.nn.functional import softplus

from digitgan.app.lessons.changes import change, changed
from digitgan.app.lessons.exercises import CHECKS, check
from digitgan.app.lessons.flatland import TARGETS, Game, modes_covered
from digitgan.app.lessons.judging import judge
from digitgan.errors import InvalidInputError

LESSONS = Path(__file__).parents[2] / "notebooks" / "lessons"
PATHS = sorted(LESSONS.rglob("*.ipynb"))
SMALL = {
    "1-loop": {"digits": 320, "epochs": 1, "steps": 2, "seeds": 1, "samples": 60},
    "2-flatland": {"seeds": 1, "steps": 40, "spiral_steps": 20},
    "3-failures": {"digits": 320, "steps": 52, "seeds": 1, "samples": 60},
    "5-hacks": {"measure": True, "budget": 0.1, "seeds": 1, "advice": "z on a sphere"},
}
PICTURES = {"1-loop": 5, "2-flatland": 8, "3-failures": 9, "5-hacks": 1}  # at least


def code_of(name):
    cells = nbformat.read(LESSONS / f"{name}.ipynb", 4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", SMALL)
def test_a_lesson_runs_from_any_folder(name, tmp_path):
    parameters = dict(SMALL[name])
    if "measure" in parameters:
        parameters |= {"results": tmp_path / "results", "run_dir": tmp_path / "results"}
    execute(LESSONS / f"{name}.ipynb", tmp_path / "out.ipynb", parameters, tmp_path)
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= PICTURES[name]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert {p.name for p in tmp_path.iterdir()} <= {"out.ipynb", "results"}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: str(p.relative_to(LESSONS)))
def test_lessons_are_committed_executed_and_tidy(path):
    notebook = nbformat.read(path, 4)
    assert_executed_and_tidy(notebook)
    lines = [line for cell in notebook.cells for line in cell.source.splitlines()]
    assert max(len(line) for line in lines if not line.startswith("|")) <= 100
    for link in re.findall(r"\]\(([\w./-]+\.ipynb)\)", "\n".join(lines)):
        assert (path.parent / link).is_file(), link


# ---- the exercises ----


@pytest.mark.parametrize("name", ["4-exercises", "solutions/4-exercises"])
def test_blanks_fail_with_a_sentence_and_solutions_pass(name, capsys):
    names = {"display": lambda shown: None}
    for source in code_of(name):
        exec(source.replace("%matplotlib inline", ""), names)
    told = capsys.readouterr().out.splitlines()
    if name.startswith("solutions"):
        assert told == [f"Exercise {n} is right." for n in CHECKS]
    else:
        assert len(told) == len(CHECKS) == 10
        pattern = r"Exercise {}, not yet: [^()]*(returns nothing|has not changed)"
        assert all(re.match(pattern.format(n), line) for n, line in enumerate(told, 1))


def test_blanks_and_solutions_have_the_same_text():
    blanks, solutions = (
        nbformat.read(LESSONS / f"{folder}4-exercises.ipynb", 4).cells
        for folder in ("", "solutions/")
    )
    for blank, solved in zip(blanks[1:], solutions[1:], strict=True):
        assert blank.cell_type == solved.cell_type
        if blank.cell_type == "markdown":
            assert blank.source.split() == solved.source.replace("](../", "](").split()


def plain_r1(D, real, y, create_graph=False):
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(real, y).sum(), real, create_graph=create_graph)
    return gradient.square()


def step_of_discriminator(detach=True, clear=True, loss=True):
    def step(G, D, optimizer, real, z):
        fake = G(z).detach() if detach else G(z)
        if clear:
            optimizer.zero_grad()
        (softplus(-D(real)).mean() + softplus(D(fake)).mean() * loss).backward()
        optimizer.step()

    return step


def average_wrongly(averaged, current, alpha):
    for old, new in zip(averaged.parameters(), current.parameters(), strict=True):
        old.data.lerp_(new.data, 1 - alpha)


def neighbours(fake, real, k):
    radius = torch.cdist(fake, fake).kthvalue(k, dim=1).values
    return (torch.cdist(real, fake) < radius).any(1).float().mean()


@pytest.mark.parametrize(
    ("number", "answer", "sentence"),
    [
        (1, lambda p: p[:, None] / 255, "the values go from 0 to 1"),
        (1, lambda p: p.float() / 127.5 - 1, "the channel axis is missing"),
        (1, lambda p: p.numpy() / 127.5 - 1, "it returns ndarray"),
        (1, lambda p: 1 - p[:, None] / 127.5, "the other way round"),
        (1, lambda p: p.nothing, "your code stopped with AttributeError"),
        (1, 7, "your code stopped with TypeError"),
        (2, lambda fake: softplus(fake).mean(), "the sign of the logit"),
        (2, lambda fake: softplus(-fake), "the mean over the batch"),
        (2, lambda fake: -torch.log(torch.sigmoid(fake)).mean(), "softplus or logsigmoid"),
        (2, lambda fake: float(softplus(-fake).mean()), "it returns float"),
        (3, lambda r, f: softplus(-r).mean() + softplus(-f).mean(), "must get a low one"),
        (3, lambda r, f: softplus(r).mean() + softplus(-f).mean(), "exchanged"),
        (3, lambda r, f: (softplus(-r) + softplus(f)).mean() / 2, "the formula has their sum"),
        (4, lambda f, y, to, e: to(f).squeeze(1), "the label has no effect"),
        (4, lambda f, y, to, e: to(f) + (f * e(y)).sum(1), "was broadcast"),
        (4, lambda f, y, to, e: to(f).squeeze(1) + (f * e(y)).mean(1), "not a mean"),
        (5, step_of_discriminator(detach=False), "gradients flowed into G"),
        (5, step_of_discriminator(clear=False), "gradients of an earlier step"),
        (5, step_of_discriminator(loss=False), "but not by one step"),
        (5, lambda *_: None, "D has not changed"),
        (6, lambda D, x, y: plain_r1(D, x, y).sum((1, 2, 3)).mean(), "`create_graph=True`"),
        (6, lambda D, x, y: plain_r1(D, x, y, True).mean(), "sum over the pixels"),
        (6, lambda D, x, y: plain_r1(D, x, y, True).sum((1, 2, 3)).sqrt().mean(), "its square"),
        (7, average_wrongly, "nine tenths"),
        (7, lambda a, c, alpha: c.load_state_dict(a.state_dict()), "only the averaged one"),
        (8, lambda a, b, n: torch.lerp(a, b, torch.linspace(0, 1, n)[:, None]), "straight line"),
        (8, lambda a, b, n: torch.stack([a, b]), "has the shape (2, 8)"),
        (9, lambda fake, real, k: neighbours(real, fake, k + 1), "this is precision"),
        (9, neighbours, "its own neighbour"),
        (10, lambda sets: "E", "must be one of A, B, C, D"),
        (10, lambda sets: "A", "is no collapse"),
        (10, min, "is no collapse"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(number, answer, sentence, capsys):
    before = torch.get_rng_state()
    assert check(number, answer) is False
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith(f"Exercise {number}, not yet: ") and sentence in told
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("number", [0, 11, "1"])
def test_there_are_ten_exercises(number):
    with pytest.raises(InvalidInputError, match="must be from 1 to 10"):
        check(number, None)


# ---- what the lessons stand on ----


def double(x):
    twice = 2 * x
    return twice


def test_one_line_of_a_function_is_changed_and_shown():
    triple = changed(double, "2 * x", "3 * x")
    assert (double(5), triple(5)) == (10, 15)
    assert changed(triple, "3 * x", "4 * x")(5) == 20  # what is changed can be changed again
    assert change(double, triple).data == "```diff\n-     twice = 2 * x\n+     twice = 3 * x\n```"
    for text, times in (("none", 0), ("twice", 2)):
        with pytest.raises(InvalidInputError, match=f"is there {times} times"):
            changed(double, text, "")


@pytest.mark.parametrize("name", TARGETS)
def test_all_modes_are_covered_by_real_points_and_one_by_a_collapse(name):
    torch.manual_seed(0)
    target = TARGETS[name]()
    most = len(target.modes)
    covered, inside = modes_covered(target.sample(500), target)
    assert covered == most and inside > 0.97
    assert modes_covered(target.modes[3] + torch.zeros(500, 2), target) == (1, 1.0)
    assert modes_covered(torch.full((500, 2), 5.0), target) == (0, 0.0)
    rest = target.sample(500)
    rest[:] = torch.where((rest - target.modes[0]).norm(dim=1)[:, None] < 0.5, 5.0, rest)
    assert modes_covered(rest, target)[0] < most


def test_a_game_is_decided_by_its_seed():
    def networks():
        return nn.Sequential(nn.Linear(2, 2), nn.Unflatten(1, (2, 1, 1))), nn.Linear(2, 1)

    def play_step(game, rate):
        with torch.no_grad():
            game.G[0].bias += rate * torch.randn(2)

    games = [Game(TARGETS["spiral"](), networks, seed) for seed in (0, 0, 1)]
    points = []
    for game in games:
        torch.manual_seed(3)
        game.play(play_step, 20, rate=0.1)
        points.append(game.points())
        assert game.step == 20 and [step for step, _, _ in game.curve] == [0, 10, 20]
    assert torch.equal(points[0], points[1]) and not torch.equal(points[0], points[2])


def test_the_short_judgement_tells_good_digits_from_bad_ones(train_digits):
    good = train_digits[:200]
    same = train_digits[[7] * 200]
    wrong = type(good)(good.images, (good.labels + 1) % 10)
    figures = judge(good)
    assert figures["label_accuracy"] > 0.97 and figures["recall"] > 0.3
    assert judge(same)["recall"] < 0.01 and judge(wrong)["label_accuracy"] < 0.02
    assert judge(same)["frechet_distance"] > 10 * figures["frechet_distance"]
    with pytest.raises(InvalidInputError, match="9 digits, 0 of them without a label"):
        judge(good[:9])
