"""The game in the plane: real points, the state of a game, its picture, and the live controls."""

import base64
import contextlib
import html
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import ipywidgets as w
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ...losses import LOSSES
from ..figures import FAKE, INK, REAL, png


class Target(NamedTuple):
    """Real points in the plane, and the places (modes) by which one counts what is covered."""

    sample: Callable[[int], Tensor]  # n -> points (n, 2), from torch's global random state
    modes: Tensor  # (M, 2)
    radius: float  # a point belongs to the nearest mode, if it is as near as that


def eight_gaussians(deviation: float = 0.05) -> Target:
    """Eight round clouds on the unit circle."""
    angles = torch.arange(8) * math.pi / 4
    modes = torch.stack([angles.cos(), angles.sin()], 1)

    def sample(n: int) -> Tensor:
        return modes[torch.randint(8, (n,))] + deviation * torch.randn(n, 2)

    return Target(sample, modes, 4 * deviation)


def spiral(deviation: float = 0.04) -> Target:
    """A spiral of one and a half turns; its modes are twelve pieces of equal probability."""

    def place(u: Tensor) -> Tensor:
        angle = 3 * math.pi * u
        return 1.2 * torch.stack([u * angle.cos(), u * angle.sin()], 1)

    def sample(n: int) -> Tensor:
        return place(torch.rand(n).sqrt()) + deviation * torch.randn(n, 2)

    return Target(sample, place(((torch.arange(12) + 0.5) / 12).sqrt()), 0.25)


TARGETS: dict[str, Callable[[], Target]] = {
    "eight Gaussians": eight_gaussians,
    "spiral": spiral,
}


def modes_covered(points: Tensor, target: Target) -> tuple[int, float]:
    """How many modes have a fifth or more of the points (N, 2) that they should have, and the
    fraction of all points (0..1) that belong to a mode."""
    distance, nearest = torch.cdist(points, target.modes).min(1)  # (N,), (N,)
    near = nearest[distance < target.radius]
    counts = torch.bincount(near, minlength=len(target.modes))
    least = 0.2 * len(points) / len(target.modes)
    return int((counts >= least).sum()), len(near) / len(points)


Networks = Callable[[], tuple[nn.Module, nn.Module]]  # -> untrained G and D


class Game:
    """A game in the plane: both networks, their optimisers, the step, and the curve of modes.

    target: the real points. networks: returns G, latents (B, 2) -> points (B, 2, 1, 1), and D,
    points (B, 2, 1, 1) -> logits (B,): to `losses.py` a point is an image of one pixel with two
    channels. seed: of the weights and of everything that is drawn afterwards.
    """

    def __init__(self, target: Target, networks: Networks, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.target, self.step = target, 0
        self.G, self.D = networks()
        self.g_optimizer = torch.optim.Adam(self.G.parameters(), betas=(0.5, 0.9))
        self.d_optimizer = torch.optim.Adam(self.D.parameters(), betas=(0.5, 0.9))
        self.z, self.fixed_real = torch.randn(500, 2), target.sample(500)
        self.curve = [(0, *self.modes())]  # (step, modes covered, fraction of points in a mode)

    def points(self) -> Tensor:
        """What the generator makes of the fixed latents now, (500, 2)."""
        with torch.no_grad():
            return self.G(self.z).flatten(1)

    def modes(self) -> tuple[int, float]:
        """`modes_covered` by the fixed latents now."""
        return modes_covered(self.points(), self.target)

    def play(self, play_step: Callable[..., Any], steps: int, **settings: Any) -> None:
        """Some steps, `play_step(self, **settings)` each; the curve grows every ten steps."""
        for _ in range(steps):
            play_step(self, **settings)
            self.step += 1
            if self.step % 10 == 0:
                self.curve.append((self.step, *self.modes()))


SURFACE = 2.0  # half the side of the square that is drawn


def draw_game(game: Game, loss: str = "non-saturating", arrows: int = 40) -> Figure:
    """A game as it stands, as a matplotlib Figure: points, D's surface and the curve of modes.

    Arrows point where a generated point would have to move to lower the generator's loss.
    """
    figure = Figure(figsize=(9, 4.3), layout="constrained")
    plane, curve = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_plane(plane, game, loss, arrows)
    now = (game.step, *game.modes())
    steps, modes, inside = zip(*game.curve, now, strict=True)
    most = len(game.target.modes)
    curve.plot(steps, modes, color=FAKE)
    curve.axhline(most, color=INK, lw=0.8, ls=":")
    curve.set(ylim=(-0.3, most + 0.5), xlabel="step", ylabel="modes covered")
    curve.set_title(f"modes covered: {modes[-1]} of {most}")
    share = curve.twinx()
    share.plot(steps, [100 * part for part in inside], color=REAL, lw=0.8, alpha=0.6)
    share.set_ylim(-100 * 0.3 / most, 100 * (1 + 0.5 / most))
    share.set_ylabel("points in a mode (%)", color=REAL)
    return figure


def draw_plane(
    plane: Axes, game: Game, loss: str = "non-saturating", arrows: int = 40, legend: bool = True
) -> None:
    """D's surface, real points, generated points and arrows, into one axes."""
    side = torch.linspace(-SURFACE, SURFACE, 60)
    y, x = torch.meshgrid(side, side, indexing="ij")
    with torch.no_grad():
        surface = game.D(torch.stack([x, y], -1).reshape(-1, 2)).reshape(60, 60)
    surface = surface - surface.median()  # relativistic logits have no zero of their own
    most = float(surface.abs().max()) or 1.0
    box = (-SURFACE, SURFACE, -SURFACE, SURFACE)
    shown = plane.imshow(
        surface, extent=box, origin="lower", cmap="PuOr_r", vmin=-most, vmax=most, alpha=0.6
    )
    if legend:
        plane.figure.colorbar(shown, ax=plane, shrink=0.8, label="D's logit, above its median")
    for points, colour, name in (
        (game.fixed_real, REAL, "real"),
        (game.points(), FAKE, "generated"),
    ):
        plane.scatter(points[:, 0], points[:, 1], s=6, color=colour, label=name, linewidths=0)
    fake = game.G(game.z[:arrows]).detach().requires_grad_()
    real = game.fixed_real[:arrows, :, None, None]
    generator_loss = LOSSES[loss][1](game.D(real).detach(), game.D(fake))
    (gradient,) = torch.autograd.grad(generator_loss, fake)  # (arrows, 2, 1, 1)
    down = -gradient.flatten(1)
    down = 0.35 * down / down.norm(dim=1).max().clamp_min(1e-12)  # the longest is 0.35 long
    start = fake.detach().flatten(1)
    plane.quiver(*start.T, *down.T, angles="xy", scale_units="xy", scale=1, width=0.004, color=INK)
    plane.set(xlim=box[:2], ylim=box[2:], xticks=[], yticks=[], title=f"step {game.step:,}")
    if legend:
        plane.legend(loc="upper left", ncols=2, fontsize=8, markerscale=2)


RATES = [1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2]
GAMMAS = [0.0, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0]
STEPS_PER_PICTURE = 25


class Picture(w.Image):
    """A PNG whose `tooltip` is also what a screen reader says."""

    # an image has none, but its tooltip fails without
    description = traitlets.Unicode("").tag(sync=True)


class GamePanel(w.VBox):
    """The game with live controls; see `game_panel`. `game` is what is played."""

    def __init__(
        self,
        networks: Networks,
        play_step: Callable[..., Any],
        seed: int,
        settings: Mapping[str, Any],
    ) -> None:
        # its own size, and a border: white paper may lie on a white page
        layout = {"align_self": "flex-start", "max_width": "99%"}
        layout["border"] = "1px solid var(--jp-border-color1)"
        self.image, self.status = Picture(format="png", layout=layout), w.HTML()
        super().__init__()
        self.networks, self.play_step, self.seed = networks, play_step, seed
        self.data = toggles(list(TARGETS), "the real points")
        self.loss = toggles(["relativistic", "non-saturating", "wasserstein"], "the loss of both")
        self.gamma = choice("gamma", GAMMAS, "weight of R1 + R2, the penalty on D's gradient")
        self.g_lr = choice("rate of G", RATES, "Adam's learning rate of the generator")
        self.d_lr = choice("rate of D", RATES, "Adam's learning rate of the discriminator")
        self.d_steps = choice("D steps", [1, 2, 3, 5, 10], "steps of D for each step of G")
        for name, value in settings.items():
            getattr(self, name).value = value
        self.running = w.Play(interval=200, max=10**9, tooltip="play", show_repeat=False)
        self.one = w.Button(description="one step", icon="step-forward", tooltip="a single step")
        self.again = w.Button(
            description="start over", icon="refresh", tooltip="new networks from the same seed"
        )
        layout = {"flex_flow": "row wrap", "align_items": "center"}
        rows = [self.data, self.loss], [self.gamma, self.g_lr], [self.d_lr, self.d_steps]
        boxes = [w.HBox(row, layout=layout) for row in rows]
        buttons = w.HBox([self.running, self.one, self.again], layout=layout)
        self.children = [*boxes, buttons, self.status, self.image]
        self.running.observe(lambda _: self.advance(STEPS_PER_PICTURE), "value")
        self.one.on_click(lambda _: self.advance(1))
        self.again.on_click(lambda _: self.start_over())
        self.data.observe(lambda _: self.start_over(), "value")
        self.start_over()

    def start_over(self) -> None:
        """New networks, drawn with the seed."""
        self.game = Game(TARGETS[self.data.value](), self.networks, self.seed)
        self.show()

    def advance(self, steps: int) -> None:
        """Some steps with what the controls say now."""
        names = "loss", "gamma", "g_lr", "d_lr", "d_steps"
        with self._showing_errors():
            settings = {name: getattr(self, name).value for name in names}
            self.game.play(self.play_step, steps, **settings)
            self.show()

    @contextlib.contextmanager
    def _showing_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # else its traceback goes to a log where nobody looks
            self.status.value = html.escape(str(error) or type(error).__name__)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and its picture for places where widgets do not run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle

    def show(self) -> None:
        """Draw the game, and say how many modes are covered."""
        modes, inside = self.game.modes()
        text = f"step {self.game.step:,}: {modes} of {len(self.game.target.modes)} modes covered"
        self.image.value = png(draw_game(self.game, self.loss.value), dpi=100)
        self.image.tooltip = self.status.value = f"{text}, {inside:.0%} of the points in a mode"


def toggles(options: list[str], tooltip: str) -> w.ToggleButtons:
    """Buttons of which one is pressed."""
    tooltips = [f"{tooltip}: {option}" for option in options]
    buttons = w.ToggleButtons(options=options, tooltips=tooltips, layout={"width": "auto"})
    buttons.style.button_width = "10em"
    return buttons


def choice(name: str, values: list[Any], tooltip: str) -> w.SelectionSlider:
    """A slider over a few values."""
    options = [(f"{value:g}", value) for value in values]
    return w.SelectionSlider(options=options, description=name, tooltip=tooltip)


def game_panel(
    networks: Networks, play_step: Callable[..., Any], seed: int = 0, **settings: Any
) -> GamePanel:
    """A widget that plays the game in the plane and shows points, D's surface and modes covered.

    play_step: `play_step(game, loss, gamma, g_lr, d_lr, d_steps)`, one step of both networks.
    settings: where the controls stand at first, by those names and `data`.
    """
    return GamePanel(networks, play_step, seed, settings)
