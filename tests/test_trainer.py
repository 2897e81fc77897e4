import copy
import csv
import json
import math
import os
import signal
import threading
import time

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from digitgan import SYSTEMS, Hyperparameters, Mistake, Trainer, generate, load_generator
from digitgan import trainer as trainer_module
from digitgan.models import from_pixels
from digitgan.objectives import OBJECTIVES


def weights(trainer):
    return {
        f"{part}.{k}": v
        for part, m in trainer._parts().items()
        if "optim" not in part
        for k, v in m.state_dict().items()
    }


def same(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def stop_at(step):
    """Make a trainer stop itself after some step, as the user would from outside."""

    class Stopping(Trainer):
        def _train_step(self, *batch):
            if self.step + 1 == step:
                self.stop()
            return super()._train_step(*batch)

    return Stopping


def test_nothing_is_written_before_train(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(Trainer(tiny, "runs/x").test(num=3)) == 3
    assert not list(tmp_path.iterdir())


def test_a_run_leaves_what_the_readme_says(tiny, tmp_path):
    history = Trainer(tiny, tmp_path).train()
    assert {p.name for p in tmp_path.iterdir()} == {
        "hyperparameters.json", "history.csv", "progress", "progression.gif", "generator.safetensors",
        "checkpoint.pt", "checkpoint.previous.pt", "tensorboard", "weights", ".lock",
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "progress").iterdir()) == ["000.png", "001.png", "002.png"]
    assert sorted(p.name for p in (tmp_path / "weights").iterdir()) == [
        "002-discriminator.safetensors",
        "002-generator.safetensors",
    ]
    assert [row["epoch"] for row in history] == [1, 2] and history[-1]["images"] == 512
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [float(row["generator_loss"]) for row in rows] == [row["generator_loss"] for row in history]
    assert iio.improps(tmp_path / "progression.gif").shape[0] >= 2
    assert Hyperparameters.from_json(tmp_path / "hyperparameters.json") == tiny


def test_the_file_handed_on_is_the_averaged_generator(finished):
    handed_on = load_generator(finished.run_dir / "generator.safetensors")
    assert (generate(handed_on, np.arange(30) % 10, seed=0).images == finished.test(30).images).all()
    averaged, current = finished.averaged.module.state_dict(), finished.generator.state_dict()
    assert not torch.equal(averaged["net.0.weight"], current["net.0.weight"])


def test_losses_and_images_move_towards_digits(finished, test_digits):
    """After 2,560 images the ink lies where digits have it, as it does not untrained."""
    mean = test_digits.images.mean(0)
    untrained = Trainer(finished.hyperparameters).test(200).images.mean(0)
    trained = finished.test(200).images.mean(0)
    assert np.corrcoef(trained.ravel(), mean.ravel())[0, 1] > 0.5 > np.corrcoef(untrained.ravel(), mean.ravel())[0, 1]
    assert all(math.isfinite(value) for row in finished.history for value in row.values())


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_takes_a_real_step_and_samples(name, tmp_path):
    trainer = Trainer(SYSTEMS[name].replace(epochs=1, limit=64, batch_size=32), tmp_path)
    before = {k: v.clone() for k, v in weights(trainer).items()}
    trainer.train()
    after = weights(trainer)
    assert all(
        any(k.startswith(p) and not torch.equal(before[k], after[k]) for k in after) for p in ("generator", "disc")
    )
    assert (trainer.test(12).labels >= 0).all() == SYSTEMS[name].conditional
    loaded = load_generator(tmp_path / "generator.safetensors")
    assert (generate(loaded, np.arange(12) % 10, seed=0).images == trainer.test(12).images).all()


def test_clipping_bounds_the_discriminators_weights(tmp_path):
    trainer = Trainer(SYSTEMS["cdcgan-clipped"].replace(epochs=1, limit=64, batch_size=32), tmp_path)
    assert max(float(p.detach().abs().max()) for p in trainer.discriminator.parameters()) > 0.02
    trainer.train()
    assert max(float(p.detach().abs().max()) for p in trainer.discriminator.parameters()) <= 0.01


def test_an_old_fault_freezes_batchnorm_after_the_first_epoch(tmp_path):
    def statistics(eval_left_on):
        seen = []
        hp = SYSTEMS["cdcgan-multiply"].replace(epochs=2, limit=64, batch_size=32, eval_left_on=eval_left_on)
        trainer = Trainer(hp, tmp_path / str(eval_left_on))
        trainer.train(lambda t: seen.append(t.generator.net[2].running_mean.clone()))
        return seen

    start, first, second = statistics(True)
    assert not torch.equal(start, first) and torch.equal(first, second)
    assert not torch.equal(*statistics(False)[1:])


def test_steps_of_either_side_are_as_many_as_asked(tiny, tmp_path):
    taken = []

    class Counting(Trainer):
        def _update(self, optimizer, *rest):
            taken.append("g" if optimizer is self.g_optimizer else "d")
            super()._update(optimizer, *rest)

    for changes, expected in (({}, "dg"), ({"generator_steps": 2}, "dgg"), ({"separate_steps": True}, "ddg")):
        taken.clear()
        hp = tiny.replace(epochs=1, limit=32, objective="non-saturating", updates="alternating", **changes)
        Counting(hp, tmp_path / expected).train()
        assert "".join(taken) == expected


def test_one_pass_of_d_gives_the_slopes_of_two(tiny, tmp_path, train_digits):
    for objective, (_, generator_loss) in OBJECTIVES.items():
        trainer = Trainer(tiny.replace(objective=objective, precision="fp32", updates="simultaneous"), tmp_path)
        trainer.total, x, y = 100, train_digits.images[:32], train_digits.labels[:32]
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
        torch.manual_seed(0)
        trainer._train_step(x, y)
        torch.manual_seed(0)
        fake = generator(torch.randn(32, generator.hyperparameters.z_dim), y)
        generator_loss(discriminator(from_pixels(x), y), discriminator(fake, y)).backward()
        for ours, theirs in zip(trainer.generator.parameters(), generator.parameters(), strict=True):
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def test_shifts_move_what_d_sees_alike_and_not_what_g_draws(tiny, tmp_path, train_digits):
    x, y = (torch.from_numpy(part[:32]) for part in (train_digits.images, train_digits.labels))
    found = set()
    for seed in range(8):
        hp = tiny.replace(shift=1, precision="fp32", gamma=0.0, updates="simultaneous", objective="relativistic")
        trainer, seen = Trainer(hp, tmp_path), []
        trainer.total = 100
        generator, discriminator = copy.deepcopy((trainer.generator, trainer.discriminator))
        trainer.discriminator.net.register_forward_pre_hook(lambda _, batch, seen=seen: seen.append(batch[0].detach()))
        torch.manual_seed(seed)
        trainer._train_step(x, y)
        torch.manual_seed(seed)
        real, fake = from_pixels(x), generator(torch.randn(32, hp.z_dim), y)
        moves = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if torch.equal(real.roll((i, j), (2, 3)), seen[0])]
        assert len(moves) == 1
        moved = fake.roll(moves[0], (2, 3))
        assert torch.allclose(moved, seen[1], atol=1e-6)
        loss = OBJECTIVES["relativistic"][1](discriminator(seen[0], y), discriminator(moved, y))
        loss.backward()
        for ours, theirs in zip(trainer.generator.parameters(), generator.parameters(), strict=True):
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
        found.add(moves[0])
    assert len(found) > 2


def test_a_discriminator_that_must_classify_learns_to(tiny, tmp_path, train_digits):
    """Without the term its projections know nothing of real digits' labels after so few steps."""
    shares = []
    for weight in (0.0, 1.0):
        trainer = Trainer(tiny.replace(epochs=1, limit=4096, classify=weight), tmp_path / str(weight))
        trainer.train()
        with torch.no_grad():
            x = from_pixels(torch.from_numpy(train_digits.images[-500:]))
            _, classes = trainer.discriminator.judge(x, torch.zeros(500, dtype=torch.int64))
        shares.append((classes.argmax(1).numpy() == train_digits.labels[-500:]).mean())
    assert shares[1] > max(0.6, shares[0] + 0.2)


def test_test_gives_the_labels_asked_for_and_leaves_modes_alone(finished):
    finished.averaged.module.train()
    assert finished.test(num=12).labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert finished.test(num=8, label=3).labels.tolist() == [3] * 8
    assert finished.averaged.module.training
    assert len(finished.test(num=0)) == 0
    for bad in ({"num": -1}, {"num": 1.5}, {"label": 10}, {"label": "3"}):
        with pytest.raises(Mistake, match=next(iter(bad))):
            finished.test(**bad)


def test_same_seed_same_bits_and_another_seed_others(tiny, tmp_path):
    runs = [Trainer(tiny.replace(seed=seed), tmp_path / str(i)) for i, seed in enumerate((1, 1, 2))]
    for run in runs:
        torch.randn(3)  # what else draws random numbers does not matter
        run.train()
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2])


def test_the_seed_decides_order_and_latents_too(tiny, tmp_path):
    """Not only the initial weights: two seeds see other digits and draw other latents from the first step on."""
    seen = []

    class Watching(Trainer):
        def _train_step(self, x, y):
            seen.append((x.clone(), torch.random.initial_seed()))
            return super()._train_step(x, y)

    for seed in (0, 1):
        Watching(tiny.replace(seed=seed, epochs=1, limit=32), tmp_path / str(seed)).train()
    (x0, s0), (x1, s1) = seen
    assert not torch.equal(x0, x1) and s0 % 2**32 != s1 % 2**32


@pytest.mark.parametrize("step", [3, 8, 11], ids=["in epoch 1", "after epoch 1", "in epoch 2"])
def test_stopped_and_resumed_is_the_same_to_the_bit(tiny, tmp_path, step):
    unbroken = Trainer(tiny, tmp_path / "unbroken")
    history = unbroken.train()
    stopped = stop_at(step)(tiny, tmp_path / "stopped")
    assert len(stopped.train()) == step // 8
    assert stopped.step == step and len(stopped.test(5)) == 5
    resumed = Trainer.resume(tmp_path / "stopped")
    assert resumed.step == step  # not a step is lost
    losses = [(row["epoch"], row["generator_loss"]) for row in resumed.train()]
    assert same(unbroken, resumed)
    assert losses == [(row["epoch"], row["generator_loss"]) for row in history]
    for name in ("progress/002.png", "progression.gif", "generator.safetensors"):
        assert (tmp_path / "unbroken" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def test_train_again_continues_returns_or_refuses(tiny, tmp_path):
    stop_at(3)(tiny, tmp_path).train()
    again = Trainer(tiny, tmp_path)
    history = again.train()
    assert len(history) == 2
    fresh = Trainer(tiny, tmp_path)
    assert fresh.train() == history and same(fresh, again)
    with pytest.raises(Mistake, match=r"epochs = 2, asked for 3"):
        Trainer(tiny.replace(epochs=3), tmp_path).train()
    assert Trainer.resume(tmp_path).history == history


def test_a_damaged_checkpoint_falls_back_on_the_one_before(tiny, tmp_path, capsys):
    unbroken = Trainer(tiny, tmp_path)
    unbroken.train()
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:5000])
    resumed = Trainer.resume(tmp_path)
    assert len(resumed.history) == 1 and "cannot be read" in capsys.readouterr().err
    resumed.train()
    assert same(unbroken, resumed)


def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_again(tiny, tmp_path):
    Trainer(tiny, tmp_path).train()
    for path in tmp_path.glob("checkpoint*.pt"):
        path.write_bytes(b"damaged")
    with pytest.raises(Mistake, match="none of its checkpoints can be read"):
        Trainer(tiny, tmp_path).train()
    assert (tmp_path / "progress" / "002.png").exists()


def test_an_epoch_never_shows_more_than_its_limit(tmp_path):
    (row,) = Trainer(Hyperparameters(epochs=1, limit=40, batch_size=128), tmp_path).train()
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

    with pytest.raises(Mistake, match="epoch 2.*last checkpoint is kept"):
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


def test_ctrl_c_leaves_a_whole_checkpoint(tiny, tmp_path):
    """The signal arrives in the middle of a step, and again at once, and the run resumes to the same bits."""
    hp = tiny.replace(epochs=3)

    class Interrupted(Trainer):
        def _train_step(self, *batch):
            for _ in range(2 * (self.step == 12)):
                os.kill(os.getpid(), signal.SIGINT)
            return super()._train_step(*batch)

    before = signal.getsignal(signal.SIGINT)
    stopped = Interrupted(hp, tmp_path / "stopped")
    assert len(stopped.train()) == 1 and stopped.step == 13
    assert signal.getsignal(signal.SIGINT) is before
    unbroken = Trainer(hp, tmp_path / "unbroken")
    unbroken.train()
    resumed = Trainer(hp, tmp_path / "stopped")
    resumed.train()
    assert same(unbroken, resumed)


def test_a_second_ctrl_c_does_not_wait(tiny, tmp_path):
    class Impatient(Trainer):
        def _train_step(self, *batch):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1.1)

    with pytest.raises(KeyboardInterrupt):
        Impatient(tiny, tmp_path).train()


def test_digits_without_labels_are_refused_for_a_conditional_run(tiny, tmp_path, monkeypatch, test_digits):
    unlabelled = type(test_digits)(test_digits.images[:100])
    monkeypatch.setattr(trainer_module, "load_digits", lambda *_, **__: unlabelled)
    with pytest.raises(Mistake, match="without labels"):
        Trainer(tiny, tmp_path / "c").train()
    assert len(Trainer(tiny.replace(conditional=False, classify=0), tmp_path / "u").train()) == 2


def test_the_penalty_told_is_its_mean_where_it_is_computed(tiny, tmp_path):
    often, seldom = (
        Trainer(tiny.replace(limit=96, penalty_every=every, epochs=4), tmp_path / str(every)).train()
        for every in (1, 8)  # an epoch of three steps has one penalty, or none
    )
    assert [row["penalty"] > 0 for row in seldom] == [True, False, True, False]
    assert seldom[0]["penalty"] < 3 * often[0]["penalty"]


def test_a_penalty_is_the_same_in_bfloat16_but_for_rounding(tiny, tmp_path):
    told = {
        precision: Trainer(tiny.replace(limit=32, epochs=1, precision=precision), tmp_path / precision).train()[0]
        for precision in ("fp32", "bf16")
    }
    assert told["bf16"]["penalty"] == pytest.approx(told["fp32"]["penalty"], rel=0.02)
    assert told["bf16"]["penalty"] != told["fp32"]["penalty"]


def test_other_ranges_reach_the_discriminator(tiny, tmp_path):
    seen = []

    class Watching(Trainer):
        def _train_step(self, *batch):
            hook = self.discriminator.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            sums = super()._train_step(*batch)
            hook.remove()
            return sums

    Watching(tiny.replace(real_range=(-0.5, 3.0), epochs=1, limit=64), tmp_path).train()
    assert seen[0].detach().min() == -0.5 and seen[0].detach().max().item() == pytest.approx(3.0)


def test_checkpoints_hold_tensors_and_plain_values_only(finished):
    state = torch.load(finished.run_dir / "checkpoint.pt", weights_only=True)
    assert state["step"] == finished.step and json.dumps(state["history"])
    assert load_file(finished.run_dir / "generator.safetensors")


def test_tensorboard_shows_losses_logits_and_digits(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.run_dir / "tensorboard"))
    events.Reload()
    assert {"discriminator_loss", "generator_loss", "real_logit", "fake_logit"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"generated", "real"}
    last = events.Scalars("generator_loss")[-1]
    assert last.step == finished.step and last.value == pytest.approx(finished.history[-1]["generator_loss"])
