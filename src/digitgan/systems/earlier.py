"""The generators of older systems as they were before systems had names: for files of that time.

Such a file names its networks and has no field "system". The systems of today have other networks
under the same names, some in the same shapes, so a file's age decides. They sample; they train no
more.
"""

from torch import nn

from ..hyperparameters import Hyperparameters
from ..models import EARLIER, Generator
from .cdcgan_multiply import MultiplyGenerator


# fmt: off
def fcnn(hp: Hyperparameters) -> Generator:
    return Generator(nn.Sequential(
        nn.Linear(hp.z_dim, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    ), hp)


def cnn(hp: Hyperparameters) -> Generator:
    return Generator(nn.Sequential(
        nn.Linear(hp.z_dim, 64 * 7 * 7), nn.LeakyReLU(0.2), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 1, 7, padding=3), nn.Tanh(),
    ), hp)


def linear(hp: Hyperparameters) -> Generator:
    return Generator(nn.Sequential(
        nn.Linear(hp.z_dim, 32), nn.LeakyReLU(0.2),
        nn.Linear(32, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 128), nn.LeakyReLU(0.2),
        nn.Linear(128, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    ), hp)


def multiply(hp: Hyperparameters) -> Generator:
    hp = hp.replace(embedding_dim=hp.z_dim)  # a file of that time may say another number
    return MultiplyGenerator(nn.Sequential(
        nn.Unflatten(1, (hp.z_dim, 1, 1)),
        nn.ConvTranspose2d(hp.z_dim, 256, 4), nn.BatchNorm2d(256), nn.ReLU(),
        nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, 2, 3), nn.Tanh(),
    ), hp)


def clipped(hp: Hyperparameters) -> Generator:
    inputs = hp.z_dim + hp.embedding_dim
    return Generator(nn.Sequential(
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, 50, 2), nn.BatchNorm2d(50), nn.ReLU(),
        nn.ConvTranspose2d(50, 30, 4, 2, 1), nn.BatchNorm2d(30), nn.ReLU(),
        nn.ConvTranspose2d(30, 15, 3, 2, 1), nn.BatchNorm2d(15), nn.ReLU(),
        nn.ConvTranspose2d(15, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    ), hp)


def resize(hp: Hyperparameters) -> Generator:
    return Generator(nn.Sequential(
        nn.Linear(hp.z_dim, 3136), nn.Unflatten(1, (1, 56, 56)), nn.BatchNorm2d(1), nn.ReLU(),
        nn.Conv2d(1, 50, 3, 2, 1), nn.BatchNorm2d(50), nn.ReLU(),
        nn.Upsample(56, mode="bilinear"),
        nn.Conv2d(50, 25, 3, 2, 1), nn.BatchNorm2d(25), nn.ReLU(),
        nn.Upsample(56, mode="bilinear"),
        nn.Conv2d(25, 1, 1, 2), nn.Tanh(),
    ), hp)
# fmt: on


EARLIER |= {
    "fcnn": fcnn,
    "cnn": cnn,
    "linear": linear,
    "cdcgan-multiply": multiply,
    "cdcgan-clipped": clipped,
    "cdcgan-gp": clipped,
    "resize": resize,
}
