import pytest

from digitgan import Mistake
from digitgan.evaluation import classifier as reader_module
from digitgan.evaluation.classifier import load_reader, train_reader


def test_the_reader_reads_real_digits(test_digits):
    assert (load_reader().read(test_digits) == test_digits.labels).mean() >= 0.995


def test_a_reader_is_trained_and_written_by_one_call(tmp_path, monkeypatch, train_digits, capsys):
    small = {True: train_digits[:2000], False: train_digits[2000:2500]}
    monkeypatch.setattr(reader_module, "load_digits", lambda train: small[train])
    accuracy = train_reader(tmp_path / "reader.safetensors", epochs=2)
    assert accuracy > 0.7 and f"{accuracy:.2%}" in capsys.readouterr().out
    assert (load_reader(tmp_path / "reader.safetensors").read(small[False]) == small[False].labels).mean() == accuracy
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(Mistake, match="junk"):
        load_reader(tmp_path / "junk")
