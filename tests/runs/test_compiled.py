"""Compiled networks train as plain ones do, penalties included."""

import torch

from digitgan import Hyperparameters, Trainer
from digitgan.runs.compiled import compile_networks


def test_compiled_networks_learn_the_same(tmp_path):
    """`aot_eager` has the limits of the real compiler (no second derivatives) and compiles at
    once."""
    hyperparameters = Hyperparameters(epochs=2, images_per_epoch=128, precision="fp32")
    plain, ours = (Trainer(hyperparameters, tmp_path / name) for name in ("plain", "compiled"))

    def compiled(trainer):  # called after each epoch, it compiles once
        compile_networks(trainer, "aot_eager")
        assert "logits_and_classes" in vars(trainer.discriminator)

    plain.train()
    ours.train(compiled)
    for name in ("generator", "discriminator"):
        expected, found = (trainer.parts()[name].state_dict() for trainer in (plain, ours))
        for key, value in expected.items():
            assert torch.allclose(value, found[key], atol=1e-4), (name, key)
    assert Trainer.resume(tmp_path / "compiled").step == 4  # no trace of it in the checkpoint
