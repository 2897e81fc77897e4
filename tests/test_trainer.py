import copy
import csv
import itertools
import json
import math
import os
import shutil
import signal
import threading
import time

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    RunFolderError,
    Trainer,
    TrainingDivergedError,
    generate,
    load_generator,
)
from digitgan.losses import LOSSES
from digitgan.models import from_pixels
from digitgan.runs.metrics import STEP_METRICS
from digitgan.runs.run import TRAINERS


def weights(trainer):
    return {
        f"{part}.{k}": v
        for part, m in trainer.parts().items()
        if "optim" not in part
        for k, v in m.state_dict().items()
    }


def same(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def stop_at(step):
    """Make a trainer stop itself after some step, as the user would from outside."""

    class Stopping(Trainer):
        def train_step(self, *batch):
            if self.step + 1 == step:
                self.stop()
            return super().train_step(*batch)

    return Stopping


@pytest.fixture(scope="module")
def unbroken(tiny, tmp_path_factory):
    """A trainer after the whole run of `tiny`, never stopped. Nobody may change its folder."""
    trainer = Trainer(tiny, tmp_path_factory.mktemp("unbroken"))
    trainer.train()
    return trainer


def without_clocks(history):
    clocks = {"seconds", "cpu_seconds", "images_per_second"}
    return [{k: v for k, v in row.items() if k not in clocks} for row in history]


def test_nothing_is_written_before_train(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(Trainer(tiny, "runs/x").test(num=3)) == 3
    assert not list(tmp_path.iterdir())


def test_a_run_leaves_what_the_readme_says(tiny, unbroken):
    folder, history = unbroken.run_dir, unbroken.history
    assert {p.name for p in folder.iterdir()} == {
        "hyperparameters.json", "history.csv", "progress", "progression.gif", "weights",
        "checkpoint.pt", "checkpoint.previous.pt", "generator.safetensors", "tensorboard", ".lock",
        "images.json",
    }  # fmt: skip
    pictures = sorted(p.name for p in (folder / "progress").iterdir())
    assert pictures == ["000.png", "001.png", "002.png"]
    snapshots = sorted(p.name for p in (folder / "weights").iterdir())
    assert snapshots == ["002-discriminator.safetensors", "002-generator.safetensors"]
    assert [row["epoch"] for row in history] == [1, 2] and history[-1]["images"] == 512
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history
    assert iio.improps(folder / "progression.gif").shape[0] >= 2
    assert Hyperparameters.from_json(folder / "hyperparameters.json") == tiny


def test_the_file_handed_on_is_the_averaged_generator(finished):
    handed_on = load_generator(finished.run_dir / "generator.safetensors")
    assert (
        generate(handed_on, np.arange(30) % 10, seed=0).images == finished.test(30).images
    ).all()
    averaged, current = finished.averaged.module.state_dict(), finished.generator.state_dict()
    assert not torch.equal(averaged["net.0.weight"], current["net.0.weight"])


def test_losses_and_images_move_towards_digits(finished, test_digits):
    """After 2,560 images the ink lies where digits have it, as it does not untrained."""
    mean = test_digits.images.mean(0)
    untrained = Trainer(finished.hyperparameters).test(200).images.mean(0)
    trained = finished.test(200).images.mean(0)
    before, after = (np.corrcoef(m.ravel(), mean.ravel())[0, 1] for m in (untrained, trained))
    assert before < 0.5 < after
    assert all(math.isfinite(value) for row in finished.history for value in row.values())


@pytest.mark.parametrize("architecture", ["dcgan", "dcgan-deep", "dcgan-strided"])
@pytest.mark.parametrize("conditional", [True, False])
def test_every_architecture_takes_real_steps_and_samples(architecture, conditional, tmp_path):
    size = {"epochs": 1, "images_per_epoch": 64, "batch_size": 32}
    labels = {"conditional": conditional, "aux_weight": 0.3 * conditional}
    trainer = Trainer(Hyperparameters(architecture=architecture, **size, **labels), tmp_path)
    before = {k: v.clone() for k, v in weights(trainer).items()}
    trainer.train()
    after = weights(trainer)
    changed = {k.split(".")[0] for k in after if not torch.equal(before[k], after[k])}
    assert changed == {"generator", "discriminator", "averaged"}
    assert (trainer.test(12).labels >= 0).all() == conditional
    loaded = load_generator(tmp_path / "generator.safetensors")
    digits = generate(loaded, np.arange(12) % 10, seed=0)
    assert (digits.images == trainer.test(12).images).all()


def test_each_network_takes_one_step_the_discriminator_first(tiny, tmp_path):
    taken = []

    class Counting(Trainer):
        def optimise(self, optimizer, *rest):
            taken.append("g" if optimizer is self.g_optimizer else "d")
            super().optimise(optimizer, *rest)

    for updates in ("one-stage", "alternating"):
        taken.clear()
        hp = tiny.replace(epochs=1, images_per_epoch=32, updates=updates)
        Counting(hp, tmp_path / updates).train()
        assert "".join(taken) == "dg"


def first_batch(digits, size=32):
    return torch.from_numpy(digits.images[:size]), torch.from_numpy(digits.labels[:size])


@pytest.mark.parametrize("loss", LOSSES)
def test_one_pass_of_d_gives_the_gradients_of_two(loss, tiny, tmp_path, train_digits):
    trainer = Trainer(tiny.replace(loss=loss, precision="fp32"), tmp_path)
    pixels, y = first_batch(train_digits)
    generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
    torch.manual_seed(0)
    trainer.train_step(pixels, y)
    torch.manual_seed(0)
    fake = generator(torch.randn(32, generator.hyperparameters.z_dim), y)
    LOSSES[loss][1](discriminator(from_pixels(pixels), y), discriminator(fake, y)).backward()
    pairs = zip(trainer.generator.parameters(), generator.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6) for a, b in pairs)


def test_a_step_needs_nothing_but_a_batch_and_returns_plain_scalars(
    train_digits, tmp_path, monkeypatch
):
    """No run folder, no `train()`; a batch may have any size."""
    monkeypatch.chdir(tmp_path)
    found = []
    for _ in range(2):
        trainer = Trainer()
        torch.manual_seed(5)
        steps = [trainer.train_step(*first_batch(train_digits, size)) for size in (64, 32, 7)]
        assert trainer.step == 3 and trainer.images_seen == 3 * trainer.batch_size
        assert all(set(metrics) == set(STEP_METRICS) for metrics in steps)
        values = [value for metrics in steps for value in metrics.values()]
        assert not any(value.requires_grad or value.ndim for value in values)
        found.append([float(value) for value in values])
        torch.manual_seed(6)
        other = Trainer().train_step(*first_batch(train_digits, 64))
        assert float(other["generator_loss"]) != float(steps[0]["generator_loss"])
    assert found[0] == found[1] and not list(tmp_path.iterdir())


def test_a_trainer_of_another_system_is_refused(tiny):
    class Mine(Trainer):
        pass

    TRAINERS["other"] = type("OtherTrainer", (Trainer,), {})
    try:
        assert type(Trainer(tiny.replace(system="other"))) is TRAINERS["other"]
        rule = "Mine with system = 'other': must be a subclass of OtherTrainer"
        with pytest.raises(InvalidInputError, match=rule):
            Mine(tiny.replace(system="other"))
    finally:
        del TRAINERS["other"]
    with pytest.raises(InvalidInputError, match="system = 'none': must be one of cdcgan"):
        Trainer(tiny.replace(system="none"))


def test_shifts_move_what_d_sees_alike_and_not_what_g_draws(tiny, tmp_path, train_digits):
    x, y = first_batch(train_digits)
    found = set()
    for seed in range(8):
        hp = tiny.replace(augment_shift=1, precision="fp32", gamma=0.0, loss="relativistic")
        trainer, seen = Trainer(hp, tmp_path), []
        generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
        trainer.discriminator.net.register_forward_pre_hook(
            lambda _, batch, seen=seen: seen.append(batch[0].detach())
        )
        torch.manual_seed(seed)
        trainer.train_step(x, y)
        torch.manual_seed(seed)
        real, fake = from_pixels(x), generator(torch.randn(32, hp.z_dim), y)
        steps = itertools.product((-1, 0, 1), repeat=2)
        moves = [move for move in steps if torch.equal(real.roll(move, (2, 3)), seen[0])]
        assert len(moves) == 1
        moved = fake.roll(moves[0], (2, 3))
        assert torch.allclose(moved, seen[1], atol=1e-6)
        loss = LOSSES["relativistic"][1](discriminator(seen[0], y), discriminator(moved, y))
        loss.backward()
        pairs = zip(trainer.generator.parameters(), generator.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6) for a, b in pairs)
        found.add(moves[0])
    assert len(found) > 2


def test_a_discriminator_that_must_classify_learns_to(tiny, tmp_path, train_digits):
    """Without the term its projections know nothing of real digits' labels after so few steps."""
    hp = tiny.replace(epochs=1, images_per_epoch=2048, gamma=0.0)
    x = from_pixels(torch.from_numpy(train_digits.images[-500:]))
    accuracies = []
    for weight in (0.0, 1.0):
        trainer = Trainer(hp.replace(aux_weight=weight), tmp_path / str(weight))
        trainer.train()
        with torch.no_grad():
            classes = trainer.discriminator.logits_and_classes(x, torch.zeros(500).long())[1]
        accuracies.append((classes.argmax(1).numpy() == train_digits.labels[-500:]).mean())
    assert accuracies[1] > max(0.6, accuracies[0] + 0.2)


def test_test_gives_the_labels_asked_for_and_leaves_modes_alone(finished):
    finished.averaged.module.train()
    assert finished.test(num=12).labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert finished.test(num=8, label=3).labels.tolist() == [3] * 8
    assert finished.averaged.module.training
    assert len(finished.test(num=0)) == 0
    for bad in ({"num": -1}, {"num": 1.5}, {"label": 10}, {"label": "3"}):
        with pytest.raises(InvalidInputError, match=next(iter(bad))):
            finished.test(**bad)


def test_same_seed_same_bits_and_another_seed_others(tiny, unbroken, tmp_path):
    runs = [Trainer(tiny.replace(seed=seed), tmp_path / str(seed)) for seed in (0, 1)]
    for run in runs:
        torch.randn(3)  # what else draws random numbers does not matter
        run.train()
    assert same(unbroken, runs[0]) and not same(unbroken, runs[1])


def test_the_seed_decides_order_and_latents_too(tiny, tmp_path):
    """Not only the initial weights: two seeds see other digits and draw other latents from the
    first step on."""
    seen = []

    class Watching(Trainer):
        def train_step(self, x, y):
            seen.append((x.clone(), torch.random.initial_seed()))
            return super().train_step(x, y)

    for seed in (0, 1):
        hp = tiny.replace(seed=seed, epochs=1, images_per_epoch=32)
        Watching(hp, tmp_path / str(seed)).train()
    (x0, s0), (x1, s1) = seen
    assert not torch.equal(x0, x1) and s0 % 2**32 != s1 % 2**32


@pytest.mark.parametrize("step", [3, 8, 11], ids=["in epoch 1", "after epoch 1", "in epoch 2"])
def test_stopped_and_resumed_is_the_same_to_the_bit(tiny, unbroken, tmp_path, step):
    stopped = stop_at(step)(tiny, tmp_path)
    assert len(stopped.train()) == step // 8
    assert stopped.step == step and len(stopped.test(5)) == 5
    resumed = Trainer.resume(tmp_path)
    assert resumed.step == step  # not a step is lost
    history = resumed.train()
    assert same(unbroken, resumed)
    assert without_clocks(history) == without_clocks(unbroken.history)
    for name in ("progress/002.png", "progression.gif", "generator.safetensors"):
        assert (tmp_path / name).read_bytes() == (unbroken.run_dir / name).read_bytes()


def test_train_again_continues_returns_or_refuses(tiny, tmp_path):
    stop_at(3)(tiny, tmp_path).train()
    again = Trainer(tiny, tmp_path)
    history = again.train()
    assert len(history) == 2
    fresh = Trainer(tiny, tmp_path)
    assert fresh.train() == history and same(fresh, again)
    with pytest.raises(RunFolderError, match=r"epochs = 2, asked for 3"):
        Trainer(tiny.replace(epochs=3), tmp_path).train()
    assert Trainer.resume(tmp_path).history == history


def test_a_damaged_checkpoint_falls_back_on_the_one_before(unbroken, tmp_path, capsys):
    shutil.copytree(unbroken.run_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:5000])
    resumed = Trainer.resume(tmp_path)
    assert len(resumed.history) == 1 and "cannot be read" in capsys.readouterr().err
    resumed.train()
    assert same(unbroken, resumed)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_again(tiny, unbroken, tmp_path):
    shutil.copytree(unbroken.run_dir, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("checkpoint*.pt"):
        path.write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match="none of its checkpoints can be read"):
        Trainer(tiny, tmp_path).train()
    assert (tmp_path / "progress" / "002.png").exists()


def test_an_epoch_never_shows_more_than_its_limit(tmp_path):
    (row,) = Trainer(
        Hyperparameters(epochs=1, images_per_epoch=40, batch_size=128), tmp_path
    ).train()
    assert row["images"] == 40


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        Trainer.resume(tmp_path / "none")


def test_non_finite_losses_stop_training_and_keep_the_checkpoint(tiny, tmp_path, monkeypatch):
    trainer = Trainer(tiny, tmp_path)

    def poison(trainer):
        if len(trainer.history) == 1:
            with torch.no_grad():
                trainer.generator.net[0].weight.fill_(torch.nan)

    with pytest.raises(TrainingDivergedError, match=r"epoch 2.*last checkpoint is kept"):
        trainer.train(callback=poison)
    kept = Trainer.resume(tmp_path)
    assert len(kept.history) == 1
    assert all(value.isfinite().all() for value in weights(kept).values())


def test_callback_is_called_at_the_start_and_after_each_epoch_and_may_stop(tiny, tmp_path):
    epochs = []

    def callback(trainer):
        epochs.append(len(trainer.history))
        if len(epochs) == 2:
            trainer.stop()

    trainer = Trainer(tiny, tmp_path)
    assert len(trainer.train(callback)) == 1
    assert len(trainer.train(callback)) == 2
    assert epochs == [0, 1, 1, 2]


def test_training_works_in_a_thread(tiny, tmp_path):
    trainer = Trainer(tiny, tmp_path)
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert len(trainer.history) == 2


def test_ctrl_c_leaves_a_whole_checkpoint(tiny, unbroken, tmp_path):
    """The signal arrives in the middle of a step, and again at once; the run resumes to the same
    bits."""

    class Interrupted(Trainer):
        def train_step(self, *batch):
            for _ in range(2 * (self.step == 12)):
                os.kill(os.getpid(), signal.SIGINT)
            return super().train_step(*batch)

    before = signal.getsignal(signal.SIGINT)
    stopped = Interrupted(tiny, tmp_path)
    assert len(stopped.train()) == 1 and stopped.step == 13
    assert signal.getsignal(signal.SIGINT) is before
    resumed = Trainer(tiny, tmp_path)
    resumed.train()
    assert same(unbroken, resumed)


def test_a_second_ctrl_c_does_not_wait(tiny, tmp_path):
    class Impatient(Trainer):
        def train_step(self, *batch):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1.1)

    with pytest.raises(KeyboardInterrupt):
        Impatient(tiny, tmp_path).train()


def test_digits_without_labels_are_refused_for_a_conditional_run(tiny, tmp_path, test_digits):
    unlabelled = Digits(test_digits.images[:100])
    with pytest.raises(InvalidInputError, match="without labels"):
        Trainer(tiny, tmp_path / "c", digits=unlabelled).train()
    hp = tiny.replace(conditional=False, aux_weight=0)
    assert len(Trainer(hp, tmp_path / "u", digits=unlabelled).train()) == 2


def test_ones_own_digits_are_what_is_trained_on(tiny, tmp_path, test_digits):
    mine, seen = test_digits[:70], []

    class Watching(Trainer):
        def train_step(self, pixels, y):
            seen.extend(zip(pixels.numpy(), y.tolist(), strict=True))
            return super().train_step(pixels, y)

    history = Watching(tiny.replace(epochs=1), tmp_path, digits=mine).train()
    assert history[0]["images"] == 256  # 3 passes, and 46 images of a fourth, in another order
    known = {(d.images[0].tobytes(), int(d.labels[0])) for d in mine}
    trained_on = [(image.tobytes(), label) for image, label in seen]
    passes = [trained_on[start : start + 70] for start in range(0, 256, 70)]
    assert [set(part) == known for part in passes] == [True, True, True, False]
    assert passes[0] != passes[1] and len(set(passes[3])) == 46


def test_values_fall_along_half_a_cosine_and_stay_where_there_is_no_schedule():
    trainer = Trainer(Hyperparameters(epochs=1, images_per_epoch=6400))  # of 100 steps
    found = []
    for trainer.step in (0, 50, 100, 150):
        found.append(trainer.scheduled(0.5, 0.1))
    assert found == pytest.approx([0.5, 0.3, 0.1, 0.1])
    constant = Trainer(Hyperparameters(schedule="constant"))
    constant.step = constant.total_steps
    assert constant.scheduled(0.5, 0.1) == 0.5


def test_averaged_weights_forget_half_in_each_half_life():
    trainer = Trainer(Hyperparameters(batch_size=100, ema_half_life=1000.0, ema_ramp=0.1))
    assert trainer.ema_alpha() == 1  # nothing seen: the current weights
    trainer.step = 50  # 5,000 images: the half-life is at most a tenth of them
    assert (1 - trainer.ema_alpha()) ** 5 == pytest.approx(0.5)
    trainer.step = 100_000  # 1,000 images are 10 steps
    assert (1 - trainer.ema_alpha()) ** 10 == pytest.approx(0.5)


def test_the_penalty_told_is_its_mean_where_it_is_computed(tiny, tmp_path):
    hp = tiny.replace(images_per_epoch=96, epochs=4)
    often, seldom = (
        Trainer(hp.replace(penalty_interval=every), tmp_path / str(every)).train()
        for every in (1, 8)  # an epoch of three steps has one penalty, or none
    )
    assert [row["penalty"] > 0 for row in seldom] == [True, False, True, False]
    assert seldom[0]["penalty"] < 3 * often[0]["penalty"]


def test_a_penalty_is_the_same_in_bfloat16_but_for_rounding(tiny, tmp_path):
    hp, told = tiny.replace(images_per_epoch=32, epochs=1), {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(hp.replace(precision=precision), tmp_path / precision)
        told[precision] = trainer.train()[0]["penalty"]
    assert told["bf16"] == pytest.approx(told["fp32"], rel=0.02)
    assert told["bf16"] != told["fp32"]


def test_a_system_may_scale_real_images_otherwise(tiny, tmp_path):
    seen = []

    class Scaled(Trainer):
        def to_images(self, pixels):
            return super().to_images(pixels) * 1.75 + 1.25  # [-0.5, 3]

        def train_step(self, *batch):
            hook = self.discriminator.net.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
            metrics = super().train_step(*batch)
            hook.remove()
            return metrics

    Scaled(tiny.replace(epochs=1, images_per_epoch=64), tmp_path).train()
    assert seen[0].detach().min() == -0.5 and seen[0].detach().max().item() == pytest.approx(3.0)


def test_checkpoints_hold_tensors_and_plain_values_only(finished):
    state = torch.load(finished.run_dir / "checkpoint.pt", weights_only=True)
    assert state["step"] == finished.step and json.dumps(state["history"])
    assert load_file(finished.run_dir / "generator.safetensors")


def test_tensorboard_shows_losses_logits_and_digits(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.run_dir / "tensorboard"))
    events.Reload()
    scalars, last = set(events.Tags()["scalars"]), events.Scalars("generator_loss")[-1]
    assert {"discriminator_loss", "generator_loss", "real_logit", "fake_logit"} <= scalars
    assert set(events.Tags()["images"]) == {"generated", "real"}
    assert last.step == finished.step
    assert last.value == pytest.approx(finished.history[-1]["generator_loss"])
