"""Every system: built, trained for real steps, saved, loaded and resumed; counted parameters."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from digitgan import SYSTEMS, InvalidInputError, RunFolderError, Trainer, load_generator
from digitgan.files import ASSET
from digitgan.models import EARLIER, build, sample
from digitgan.runs.weights import save_generator, save_weights

OLDER = [name for name in SYSTEMS if name != "cdcgan"]
PARAMETERS = {  # of generator and discriminator
    "cdcgan-multiply": (1_067_880, 440_865),
    "fcnn": (218_128, 100_609),
    "fcnn-mended": (218_128, 100_609),
    "cnn": (245_633, 21_381),
    "linear": (114_800, 110_849),
}


@pytest.fixture(scope="session")
def some_digits(train_digits):
    return train_digits[:512]


def shortened(name, steps):
    """The preset with so many steps in each of two epochs; the widest in small batches."""
    hp = SYSTEMS[name]
    size = 4 if name == "cdcgan-clipped" else hp.batch_size
    return hp.replace(epochs=2, batch_size=size, images_per_epoch=steps * size)


@pytest.mark.parametrize("name", OLDER)
def test_trains_saves_loads_and_resumes(name, some_digits, tmp_path):
    """A run that is stopped and resumed ends in the bits of one that never was."""
    hp = shortened(name, steps=2)
    whole = Trainer(hp, tmp_path / "whole", digits=some_digits)
    before = [p.clone() for p in (*whole.generator.parameters(), *whole.discriminator.parameters())]
    history = whole.train()
    after = [*whole.generator.parameters(), *whole.discriminator.parameters()]
    assert len(history) == 2 and any(
        not torch.equal(b, a) for b, a in zip(before, after, strict=True)
    )

    stopped = Trainer(hp, tmp_path / "stopped", digits=some_digits)
    stopped.train(lambda trainer: trainer.stop() if trainer.step else None)
    assert stopped.step == 2
    resumed = Trainer.resume(tmp_path / "stopped", digits=some_digits)
    assert type(resumed) is type(whole) and resumed.step == 2
    resumed.train()
    files = [tmp_path / run / "generator.safetensors" for run in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()
    for part, other in zip(whole.parts().values(), resumed.parts().values(), strict=True):
        torch.testing.assert_close(part.state_dict(), other.state_dict(), rtol=0, atol=0)

    generator = load_generator(files[0])
    assert generator.hyperparameters == hp
    digits = sample(generator, whole.test(20).labels.clip(0), seed=0)
    assert (digits.images == whole.test(20).images).all()


@pytest.mark.parametrize("name", OLDER)
def test_shapes_and_gradients(name):
    generator, discriminator = build(SYSTEMS[name])
    z, y = generator.draw_latents(6), torch.arange(6)
    images = generator(z, y)
    logits = discriminator(images, y)
    assert images.shape == (6, 1, 28, 28) and logits.shape == (6,)
    logits.sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None for p in network.parameters())
    images = generator.eval()(100 * z, y)  # however far the latents lie
    assert images.abs().max() <= 1


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_source(name):
    counts = (sum(p.numel() for p in network.parameters()) for network in build(SYSTEMS[name]))
    assert tuple(counts) == PARAMETERS[name]


@pytest.mark.parametrize("name", [name for name in OLDER if SYSTEMS[name].conditional])
def test_both_networks_see_the_label(name):
    generator, discriminator = (network.eval() for network in build(SYSTEMS[name]))
    z, y = generator.draw_latents(6), torch.arange(6)
    images = generator(z, y)
    assert not torch.equal(images, generator(z, y.flip(0)))
    assert not torch.equal(discriminator(images, y), discriminator(images, y.flip(0)))


GENERATORS = [path for path in (ASSET / "pretrained").glob("*.safetensors") if path.stem in SYSTEMS]


@pytest.mark.parametrize("path", sorted(GENERATORS))
def test_a_shipped_generator_loads_by_the_name_of_its_system(path):
    generator = load_generator(path.stem)
    assert generator.hyperparameters.system == path.stem
    assert path.stat().st_size <= 3_000_000
    assert (
        len({image.tobytes() for image in sample(generator, np.arange(20) % 10, seed=0).images}) > 1
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fcnn", {"conditional": True}),
        ("linear", {"loss": "non-saturating"}),
        ("resize", {"gamma": 1.0}),
        ("cdcgan-multiply", {"augment_shift": 2}),
        ("cdcgan-clipped", {"updates": "one-stage"}),
    ],
)
def test_a_value_that_the_steps_do_not_know_is_refused(name, change, tmp_path):
    (field,) = change
    with pytest.raises(InvalidInputError, match=f"^{field} = .*: must be .*as the system '{name}'"):
        Trainer(SYSTEMS[name].replace(**change), tmp_path)


def test_half_precision_loads_and_shows_the_same_digits(tmp_path):
    generator = build(SYSTEMS["fcnn-mended"])[0].eval()
    for name, half in (("whole", False), ("half", True)):
        save_generator(generator, tmp_path / f"{name}.safetensors", half)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.51 * sizes[0]
    images = [
        sample(load_generator(tmp_path / f"{name}.safetensors"), np.zeros(50, int), seed=0).images
        for name in ("whole", "half")
    ]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1  # of 255


# ---- files of the time before systems had names ----

OLD_FORM = {
    "networks": "fcnn",
    "conditional": False,
    "objective": "non-saturating",
    "classify": 0.0,
}
OLD_FORM |= {"gamma": 0.0, "updates": "alternating"}


def old_fcnn():
    """The generator as it was: a slope of 0.2, images in [-1, 1]."""
    layers = nn.Linear(32, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh()
    return nn.Sequential(*layers, nn.Unflatten(1, (1, 28, 28)))


def test_a_file_of_the_old_form_draws_what_it_drew(tmp_path):
    old, z, y = old_fcnn(), torch.randn(4, 32), torch.arange(4)
    weights = {f"net.{name}": value for name, value in old.state_dict().items()}
    for form, same in ((OLD_FORM, True), (OLD_FORM | {"system": "fcnn"}, False)):
        path = tmp_path / "generator.safetensors"
        save_weights(path, weights, {"hyperparameters": json.dumps(form)})
        assert torch.allclose(load_generator(path)(z, y), old(z), atol=1e-6) == same


@pytest.mark.parametrize("name", EARLIER)
def test_a_generator_of_the_old_form_is_not_read_into_the_networks_of_today(name):
    hp = SYSTEMS[name]
    old, new = EARLIER[name](hp).eval(), build(hp)[0].eval()
    shapes = [[p.shape for p in network.parameters()] for network in (old, new)]
    if shapes[0] == shapes[1]:  # the same weights in both: the pictures differ, but for dropout
        for target, source in zip(new.parameters(), old.parameters(), strict=True):
            target.data.copy_(source)
        z, y = old.draw_latents(4), torch.arange(4)
        assert name == "linear" or not torch.allclose(old(z, y), new(z, y), atol=1e-3)


def test_a_run_of_the_old_form_is_not_continued(some_digits, tmp_path):
    (tmp_path / "hyperparameters.json").write_text(json.dumps(OLD_FORM), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"a run of an earlier 'fcnn'.*cannot be continued"):
        Trainer.resume(tmp_path, digits=some_digits)
