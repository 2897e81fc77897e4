"""The networks of older digit GANs, as they were: what the conditional DCGAN descends from.

Each function gives (generator, discriminator, features): two `nn.Sequential`, and how many features the
discriminator hands to its last layer, the one that makes a logit of them. `inputs` is the length of what
enters the generator, `channels` 2 where the label comes as a second image channel, else 1.
"""

from torch import nn


def multiply(inputs, channels):
    """Conditional DCGAN whose z is multiplied by the label's embedding."""
    generator = nn.Sequential(
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, 256, 4), nn.BatchNorm2d(256), nn.ReLU(),  # (B, 256, 4, 4)
        nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),  # (B, 128, 8, 8)
        nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),  # (B, 64, 16, 16)
        nn.ConvTranspose2d(64, 1, 4, 2, 3), nn.Tanh(),  # (B, 1, 28, 28)
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 64, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 64, 14, 14)
        nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),  # (B, 128, 7, 7)
        nn.Conv2d(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),  # (B, 256, 3, 3)
        nn.Flatten(),  # the last convolution, 3x3 on 3x3, is the layer that makes the logit
    )  # fmt: skip
    return generator, discriminator, 256 * 3 * 3


def clipped(inputs, channels):
    """Conditional DCGAN with a thin generator, and a discriminator without normalisation for bounded slopes."""
    generator = nn.Sequential(
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, 50, 2), nn.BatchNorm2d(50), nn.ReLU(),  # (B, 50, 2, 2)
        nn.ConvTranspose2d(50, 30, 4, 2, 1), nn.BatchNorm2d(30), nn.ReLU(),  # (B, 30, 4, 4)
        nn.ConvTranspose2d(30, 15, 3, 2, 1), nn.BatchNorm2d(15), nn.ReLU(),  # (B, 15, 7, 7)
        nn.ConvTranspose2d(15, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),  # (B, 8, 14, 14)
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),  # (B, 1, 28, 28)
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 64 * channels, 4, 2, 1, groups=channels), nn.LeakyReLU(0.2),  # each channel by itself
        nn.Conv2d(64 * channels, 256, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 256, 7, 7)
        nn.Conv2d(256, 512, 3, 2, 1), nn.LeakyReLU(0.2),  # (B, 512, 4, 4)
        nn.Conv2d(512, 1024, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),  # (B, 4096)
    )  # fmt: skip
    return generator, discriminator, 1024 * 2 * 2


def fcnn(inputs, channels):
    """Two fully connected layers each, as in the first GAN paper."""
    generator = nn.Sequential(
        nn.Linear(inputs, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )  # fmt: skip
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(784 * channels, 128), nn.LeakyReLU(0.2))
    return generator, discriminator, 128


def cnn(inputs, channels):
    """Transposed convolutions against a LeNet with max-pooling and dropout."""
    generator = nn.Sequential(
        nn.Linear(inputs, 64 * 7 * 7), nn.LeakyReLU(0.2), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 32, 14, 14)
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 16, 28, 28)
        nn.Conv2d(16, 1, 7, padding=3), nn.Tanh(),  # (B, 1, 28, 28)
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 10, 5), nn.MaxPool2d(2), nn.LeakyReLU(0.2),  # (B, 10, 12, 12)
        nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.LeakyReLU(0.2),  # (B, 20, 4, 4)
        nn.Flatten(), nn.Linear(320, 50), nn.LeakyReLU(0.2),
    )  # fmt: skip
    return generator, discriminator, 50


def linear(inputs, channels):
    """Four fully connected layers each, widening and narrowing."""
    generator = nn.Sequential(
        nn.Linear(inputs, 32), nn.LeakyReLU(0.2),
        nn.Linear(32, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 128), nn.LeakyReLU(0.2),
        nn.Linear(128, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784 * channels, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3),
    )  # fmt: skip
    return generator, discriminator, 32


def resize(inputs, channels):
    """Starts larger than the picture and comes down to it: strided convolutions, each resized to 56x56 again.

    The recipe ends in a sigmoid, [0, 1]; here in tanh(v) = 2 sigmoid(2v) - 1, the same picture in [-1, 1].
    """
    generator = nn.Sequential(
        nn.Linear(inputs, 3136), nn.Unflatten(1, (1, 56, 56)), nn.BatchNorm2d(1), nn.ReLU(),  # (B, 1, 56, 56)
        nn.Conv2d(1, 50, 3, 2, 1), nn.BatchNorm2d(50), nn.ReLU(), nn.Upsample(56, mode="bilinear"),  # (B, 50, 56, 56)
        nn.Conv2d(50, 25, 3, 2, 1), nn.BatchNorm2d(25), nn.ReLU(), nn.Upsample(56, mode="bilinear"),  # (B, 25, 56, 56)
        nn.Conv2d(25, 1, 1, 2), nn.Tanh(),  # (B, 1, 28, 28)
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2), nn.LeakyReLU(0.2), nn.AvgPool2d(2),  # (B, 32, 14, 14)
        nn.Conv2d(32, 64, 5, padding=2), nn.LeakyReLU(0.2), nn.AvgPool2d(2),  # (B, 64, 7, 7)
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1024), nn.LeakyReLU(0.2),
    )  # fmt: skip
    return generator, discriminator, 1024
