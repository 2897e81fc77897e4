"""The reader: a small classifier of real digits, by which generated ones are judged.

It is never used in training a generator.
"""

import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn
from torch.nn.functional import cross_entropy, pad

from ..common import ASSET, Mistake, write_whole
from ..data.digits import load_digits
from ..models import computes_bf16, load_network

READER = ASSET / "reader.safetensors"
READS = "MNIST", "EMNIST", "QMNIST"  # sets of the digits 0 to 9, as we write them


class Reader(nn.Module):
    """A small classifier of digits: uint8 (B, 28, 28) or (B, 1, 28, 28) -> 128 features a digit (B, 128)."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *self._block(1, 32, stride=2),  # (B, 32, 14, 14)
            *self._block(32, 64), nn.MaxPool2d(2),  # (B, 64, 7, 7)
            *self._block(64, 128), *self._block(128, 128), nn.MaxPool2d(2),  # (B, 128, 3, 3)
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 3 * 3, 128), nn.ReLU(),  # (B, 128)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, 10))

    @staticmethod
    def _block(inputs, outputs, stride=1):
        return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

    def forward(self, images):
        return self.body(images.reshape(-1, 1, 28, 28).float() / 255)

    @torch.inference_mode()
    def features(self, digits):
        """The features of some `Digits`, float32 (N, 128)."""
        self.eval()
        return torch.cat([self(batch) for batch in torch.from_numpy(digits.images).split(500)])

    @torch.inference_mode()
    def read(self, digits):
        """What the reader takes each of some `Digits` for, int64 (N,)."""
        return self.head(self.features(digits)).argmax(1).numpy()


def load_reader(path=READER):
    """The trained reader. Raises FileNotFoundError or `Mistake` where `path` holds none."""
    return load_network(path, lambda metadata: Reader(), "a reader's weights")


def train_reader(path, epochs=12, seed=0):
    """Train a reader on the 60,000 real training digits, write it to `path`; gives its accuracy on the test digits."""
    if epochs < 1 or not 0 <= seed < 2**32:
        raise Mistake(f"epochs = {epochs}, seed = {seed}: must be 1 or more, and from 0 to {2**32 - 1}")
    reader, accuracy = fit_reader(load_digits(train=True), load_digits(train=False), epochs, seed)
    write_whole(path, safetensors_bytes(reader.state_dict()))
    return accuracy


def fit_reader(digits, test, epochs, seed=0, quiet=False):
    """A reader trained on some `Digits`, and the share of `test` that it reads aright.

    Adam with a one-cycle schedule; digits shifted by up to two pixels each way.
    """
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    batch_size, steps = 100, -(-len(digits) // 100)
    bf16 = computes_bf16(torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = Reader()
        optimizer = torch.optim.Adam(reader.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * steps)
        for epoch in range(epochs):
            reader.train()
            for batch in torch.randperm(len(digits)).split(batch_size):
                down, right = torch.randint(5, (2,)).tolist()
                shifted = pad(images[batch], (2, 2, 2, 2))[:, down : down + 28, right : right + 28]
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = cross_entropy(reader.head(reader(shifted)).float(), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if not quiet or epoch + 1 == epochs:
                accuracy = float((reader.read(test) == test.labels).mean())
            if not quiet:
                print(f"epoch {epoch + 1} of {epochs}: reads {accuracy:.2%} of the test digits", flush=True)
    return reader, accuracy
