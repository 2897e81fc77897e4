"""Sets of images of several sizes, channels and classes, made of real digits and of a font."""

import numpy as np
import torchvision
from PIL import Image, ImageDraw, ImageFont

from digitgan import Digits, load_digits
from digitgan.data.datasets import CAPITALS
from digitgan.data.idx import write_idx


def resized(images, size):
    """Images uint8 (N, H, W) at another size."""
    scaled = [Image.fromarray(image).resize((size, size)) for image in images]
    return np.stack([np.asarray(image) for image in scaled])


def tinted(images, seed=0):
    """Grey images (N, H, W), each in a colour of its own: (N, H, W, 3)."""
    colours = np.random.default_rng(seed).integers(64, 256, (len(images), 1, 1, 3))
    return (images[..., None] * (colours / 255)).astype(np.uint8)


def letters(count, seed=0, names=CAPITALS):
    """Letters of a font at varied sizes and places, as `Digits` of 26 classes."""
    rng, images = np.random.default_rng(seed), []
    labels = np.arange(count) % len(names)
    for label in labels:
        page = Image.new("L", (28, 28))
        font, place = (
            ImageFont.load_default(size=int(rng.integers(18, 25))),
            rng.integers(12, 17, 2),
        )
        ImageDraw.Draw(page).text(tuple(map(int, place)), names[label], 255, font, "mm")
        images.append(np.asarray(page))
    return Digits(np.stack(images), labels, classes=names)


def emnist_letters(root, count=260):
    """Files as those of EMNIST's letters below a folder: rows and columns exchanged, labels from
    1."""
    for train, n in ((True, count), (False, count // 2)):
        digits = letters(n, seed=int(train))
        turned = Digits(digits.images.swapaxes(1, 2).copy(), (digits.labels + 1), classes=27)
        raw = write_idx(root / "made", [turned], n, train, turned.spec)
        for what, axes in (("images", 3), ("labels", 1)):
            file = raw / f"{'train' if train else 't10k'}-{what}-idx{axes}-ubyte"
            part = "train" if train else "test"
            target = root / "EMNIST" / "raw" / f"emnist-letters-{part}-{what}-idx{axes}-ubyte"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return root


def picture_folder(root, per_class=12, classes="0123456789"):
    """A folder of pictures of real digits, of odd sizes, dark on light."""
    real = load_digits(train=True)
    rng = np.random.default_rng(0)
    for label in map(int, classes):
        for number, image in enumerate(real.images[real.labels == label][:per_class]):
            width, height = rng.integers(15, 60, 2).tolist()
            path = root / str(label) / f"{number}.{('png', 'jpg', 'bmp')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - image).resize((width, height)).save(path)
    return root


def torchvision_mnist(root, count=200):
    """torchvision's own MNIST, in memory, of a few real digits."""
    load_digits(train=True)[:count].to_idx(root, train=True)
    load_digits(train=False)[:count].to_idx(root, train=False)
    return torchvision.datasets.MNIST(str(root), train=True)
