"""File systems of all kinds: inode numbers made up at each look, free space reported as 0, no
locks, no fsync, no mapping of files."""

import errno
import os
import pathlib
import shutil
from collections import namedtuple
from itertools import count

import filelock
import numpy as np
import pytest

from digitgan import Hyperparameters, RunFolderError, Trainer, load_digits
from digitgan.files import atomic_write
from digitgan.runs.lock import ROOM, FolderLock, check_room

HP = Hyperparameters(epochs=2, images_per_epoch=64, batch_size=32)
Usage = namedtuple("Usage", "total used free")


def failing(code):
    """A function that fails as a file system does."""

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_inode_numbers_that_change_stop_no_run(tmp_path, monkeypatch):
    numbers, stat = count(1), pathlib.Path.stat

    def unstable(self, **options):
        found = stat(self, **options)
        return os.stat_result((found[0], next(numbers), *found[2:]))

    monkeypatch.setattr(pathlib.Path, "stat", unstable)
    Trainer(HP, tmp_path / "r").train()
    assert Trainer.resume(tmp_path / "r").step == 4


@pytest.mark.parametrize("change", ["deleted", "moved", "made again", "taken"])
def test_a_folder_that_is_another_one_now_is_still_noticed(change, tmp_path):
    trainer, place = Trainer(HP, tmp_path / "r"), tmp_path / "r"

    def spoil(_):
        if trainer.step == 2:
            shutil.move(place, tmp_path / "moved")
            if change == "deleted":
                shutil.rmtree(tmp_path / "moved")
            if change in ("made again", "taken"):
                shutil.copytree(tmp_path / "moved", place)
                (place / ".lock").write_text("" if change == "made again" else "another's")

    with pytest.raises(RunFolderError, match="was deleted or moved while training"):
        trainer.train(spoil)
    assert change in ("made again", "taken") or not place.exists()


# ---- room ----


@pytest.mark.parametrize(
    "report", [lambda _: Usage(0, 0, 0), lambda _: Usage(10**12, 10**12, 0), failing(errno.ENOSYS)]
)
def test_free_space_that_is_reported_as_0_stops_no_run(report, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", report)
    Trainer(HP, tmp_path).train()
    assert (tmp_path / "generator.safetensors").is_file() and not (tmp_path / ".room").exists()


def test_a_disk_that_is_really_full_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, ROOM - 1))
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        check_room(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunFolderError, match="cannot be written"):
        Trainer(HP, tmp_path / "r").train()


def test_where_there_is_room_nothing_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    check_room(tmp_path)


# ---- locks ----

NO_LOCKS = [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK]


@pytest.fixture
def no_locks(monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    return lambda code: monkeypatch.setattr(fcntl, "flock", failing(code))


@pytest.mark.parametrize("code", NO_LOCKS)
def test_without_locks_a_file_stands_for_one_and_a_line_says_so(code, tmp_path, no_locks, capsys):
    no_locks(code)
    Trainer(HP, tmp_path).train()
    (told,) = capsys.readouterr().err.splitlines()
    assert "this file system has no locks" in told and "if this process is killed" in told
    Trainer(HP.replace(epochs=2), tmp_path).train()  # it was free again


@pytest.mark.parametrize("code", NO_LOCKS)
def test_without_locks_a_second_run_is_refused_and_told_what_to_delete(code, tmp_path, no_locks):
    no_locks(code)
    with FolderLock(tmp_path).held() as _:
        with pytest.raises(RunFolderError, match="another process trains in it, or was") as told:
            Trainer(HP, tmp_path).train()
        (file,) = {tmp_path / ".lock", tmp_path / ".lock.held"} & {
            pathlib.Path(word) for word in str(told.value).replace(",", "").split()
        }
        assert file.is_file() and "\n" not in str(told.value)
    assert not file.exists()


def test_a_lock_that_fails_for_another_reason_is_told(tmp_path, no_locks):
    no_locks(errno.EIO)
    with pytest.raises(RunFolderError, match="Input/output error"):
        Trainer(HP, tmp_path).train()


def test_a_held_lock_is_told_from_a_missing_one(tmp_path):
    with filelock.FileLock(tmp_path / ".lock"):
        with pytest.raises(RunFolderError, match="another process trains in it; wait") as told:
            Trainer(HP, tmp_path).train()
        assert "delete" not in str(told.value)


# ---- other operations that some file systems lack ----


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_files_are_written_where_fsync_is_unknown(code, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(code))
    atomic_write(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        atomic_write(tmp_path / "x", b"other")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_images_are_read_where_files_cannot_be_mapped(tmp_path, monkeypatch, test_digits):
    test_digits[:20].to_idx(tmp_path)
    monkeypatch.setattr(np, "memmap", failing(errno.ENODEV))
    digits = load_digits("MNIST", data_dir=tmp_path)
    assert (digits.images == test_digits.images[:20]).all() and digits.images.flags.writeable
