import base64
import io

import pytest
import torch
from PIL import Image

from digitgan import SYSTEMS
from digitgan.app.figures import (
    draw_networks,
    gif,
    loss_curves,
    network_stages,
    png,
    training_view,
)
from digitgan.models import build


def test_the_curves_show_the_history(finished):
    axes = loss_curves(finished.history).axes
    assert list(axes[0].lines[1].get_ydata()) == [row["generator_loss"] for row in finished.history]
    assert list(axes[1].lines[0].get_xdata()) == [row["images"] / 1000 for row in finished.history]


def test_the_live_view_draws_before_the_first_epoch_too(finished):
    for history in ([], finished.history):
        picture = png(training_view(finished.progress(), history), 50)
        assert Image.open(io.BytesIO(picture)).width > 300


@pytest.mark.parametrize("name", SYSTEMS)
def test_networks_are_drawn_from_their_own_layers(name):
    generator, discriminator = build(SYSTEMS[name])
    figure = draw_networks(generator, discriminator)
    told = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "1×28×28" in told and str(SYSTEMS[name].z_dim) in " ".join(told)
    assert f"{sum(p.numel() for p in generator.parameters()):,}" in figure.axes[0].get_title("left")
    assert generator.training


def test_stages_have_the_shapes_of_the_maps():
    _, discriminator = build(SYSTEMS["cdcgan"])
    stages = network_stages(discriminator.net, torch.zeros(1, 1, 28, 28), "x")
    assert stages[0] == ("x", (1, 28, 28))
    assert [shape for _, shape in stages[2:]] == [(64, 7, 7), (128, 4, 4), (128,)]


def test_a_gif_is_shown_from_its_file(tmp_path):
    content = b"GIF89a, whatever follows"
    (tmp_path / "p.gif").write_bytes(content)
    shown = gif(tmp_path / "p.gif").data
    assert f"data:image/gif;base64,{base64.b64encode(content).decode()}" in shown
