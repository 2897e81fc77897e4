"""The classifier of real digits by which generated ones are judged. It has no part in training a
generator."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from ..aliases import old_method
from ..bounds import whole_number
from ..data.datasets import load_digits
from ..data.digits import Digits
from ..data.spec import MNIST, ImageSpec
from ..files import ASSET
from ..runs.processes import native_bf16
from ..runs.torch_modes import ordinary_torch
from ..runs.weights import load_network, save_weights
from ..streams import tell

CLASSIFIER = ASSET / "classifier.safetensors"
SUPPORTED_DATASETS = (
    "MNIST",
    "EMNIST",
    "QMNIST",
)  # sets of the digits 0 to 9, in Western handwriting


class DigitClassifier(nn.Module):
    """A small classifier: images uint8 (B, 28, 28) or (B, 1, 28, 28), in colour (B, 28, 28, 3) ->
    128 features of each (B, 128). `head` makes class logits (B, classes) of them."""

    def __init__(self, spec: ImageSpec = MNIST) -> None:
        super().__init__()
        self.spec, end = spec, spec.size // 4 // 2  # 28 -> 14 -> 7 -> 3
        self.body = nn.Sequential(
            *self._block(spec.channels, 32, stride=2),  # (B, 32, 14, 14)
            *self._block(32, 64), nn.MaxPool2d(2),  # (B, 64, 7, 7)
            *self._block(64, 128), *self._block(128, 128), nn.MaxPool2d(2),  # (B, 128, 3, 3)
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * end * end, 128), nn.ReLU(),  # (B, 128)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, len(spec.classes)))

    @staticmethod
    def _block(
        inputs: int, outputs: int, stride: int = 1
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        return (
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        size, channels = self.spec.size, self.spec.channels
        if channels > 1:
            images = images.movedim(3, 1)
        return self.body(images.reshape(-1, channels, size, size).float() / 255)

    @ordinary_torch()
    @torch.inference_mode()
    def features(self, digits: Digits) -> Tensor:
        """The features of some `Digits`, float32 (N, 128)."""
        self.eval()
        return torch.cat([self(batch) for batch in torch.from_numpy(digits.images).split(500)])

    @ordinary_torch()
    @torch.inference_mode()
    def predict(self, digits: Digits) -> np.ndarray:
        """The class of each of some `Digits`, int64 (N,)."""
        return self.head(self.features(digits)).argmax(1).numpy()

    read = old_method("read", predict)


def load_classifier(path: str | Path = CLASSIFIER) -> DigitClassifier:
    """The trained classifier. Raises FileNotFoundError or `InvalidInputError` where `path` holds
    none."""

    def build_from(metadata: dict[str, str]) -> DigitClassifier:
        known = "images" in metadata
        return DigitClassifier(ImageSpec.from_json(metadata["images"]) if known else MNIST)

    return load_network(path, build_from, "a classifier's weights")


def train_classifier(path: str | Path, epochs: int = 12, seed: int = 0) -> float:
    """Train a classifier on the 60,000 real training digits and write it to `path`.

    Returns its accuracy on the test digits, 0..1.
    """
    epochs, seed = whole_number("epochs", epochs, 1), whole_number("seed", seed, 0, 2**32 - 1)
    train, test = load_digits(train=True), load_digits(train=False)
    classifier, accuracy = fit_classifier(train, test, epochs, seed)
    save_weights(path, classifier.state_dict())
    return accuracy


@ordinary_torch()
def fit_classifier(
    digits: Digits, test: Digits, epochs: int, seed: int = 0, quiet: bool = False
) -> tuple[DigitClassifier, float]:
    """A classifier trained on some `Digits`, and its accuracy on `test`, 0..1.

    Adam with a one-cycle schedule; images are shifted by up to two pixels each way. Batches of 100,
    or, for fewer than 1,000 images, of a tenth of them, but not below 10.
    """
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    batch_size = min(100, max(10, len(digits) // 10))
    steps = -(-len(digits) // batch_size)
    size, margins = digits.spec.size, (0, 0) * (images.ndim - 3) + (2, 2, 2, 2)
    bf16, accuracy = native_bf16(torch.device("cpu")), 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = DigitClassifier(digits.spec)
        optimizer = torch.optim.Adam(classifier.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * steps)
        for epoch in range(epochs):
            classifier.train()
            for batch in torch.randperm(len(digits)).split(batch_size):
                down, right = torch.randint(5, (2,)).tolist()
                rows, columns = slice(down, down + size), slice(right, right + size)
                shifted = pad(images[batch], margins)[:, rows, columns]
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = cross_entropy(
                        classifier.head(classifier(shifted)).float(), labels[batch]
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if not quiet or epoch + 1 == epochs:
                accuracy = float((classifier.predict(test) == test.labels).mean())
            if not quiet:
                told = f"{accuracy:.2%} of the test digits classified correctly"
                tell(f"epoch {epoch + 1} of {epochs}: {told}")
    return classifier, accuracy
