"""Adversarial objectives as pure functions of logits (B,), and the gradient penalties.

A discriminator gives one logit per image: positive means "real". Each loss takes the logits of real digits and of
generated ones, in the same order of labels, and gives the mean over the batch.
"""

import torch
from torch.nn.functional import softplus  # softplus(-a) = -log sigmoid(a)


def non_saturating_discriminator(real, fake):
    """-log D(x) - log(1 - D(G(z))), Goodfellow et al., arXiv 1406.2661, eq. 1."""
    return softplus(-real).mean() + softplus(fake).mean()


def non_saturating_generator(real, fake):
    """-log D(G(z)): the same optimum as the minimax loss, with gradients where D is sure (ibid., section 3)."""
    return softplus(-fake).mean()


def relativistic_discriminator(real, fake):
    """-log sigmoid(D(x) - D(G(z))): a real digit must look more real than the generated one it is
    paired with (Jolicoeur-Martineau, arXiv 1807.00734; R3GAN, arXiv 2501.05441, eq. 2)."""
    return softplus(fake - real).mean()


def relativistic_generator(real, fake):
    """The same pairing, seen from the generator: -log sigmoid(D(G(z)) - D(x))."""
    return softplus(real - fake).mean()


def smoothed_discriminator(real, fake):
    """The non-saturating game with real digits called 0.9 real (Salimans et al., arXiv 1606.03498, section 3.4)."""
    return (0.9 * softplus(-real) + 0.1 * softplus(real)).mean() + softplus(fake).mean()


def wasserstein_discriminator(real, fake):
    """D(G(z)) - D(x): the negated distance that a D of bounded slope measures (Arjovsky et al., arXiv 1701.07875)."""
    return (fake - real).mean()


def wasserstein_generator(real, fake):
    """-D(G(z))."""
    return -fake.mean()


OBJECTIVES = {  # name -> (discriminator's loss, generator's loss)
    "non-saturating": (non_saturating_discriminator, non_saturating_generator),
    "smoothed": (smoothed_discriminator, non_saturating_generator),
    "wasserstein": (wasserstein_discriminator, wasserstein_generator),
    "relativistic": (relativistic_discriminator, relativistic_generator),
}


def squared_slopes(logits, images):
    """Squared norms of d logits / d images, (B,), which can be differentiated again.

    `images` (B, 1, 28, 28) must require gradients and `logits` (B,) have been computed from them.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def zero_centred_penalty(discriminator, real, fake, y, _):
    """(R1 + R2) / 2: slopes at real digits (R1) and at generated ones (R2) are drawn to 0
    (Mescheder et al., arXiv 1801.04406; arXiv 2501.05441, eq. 4)."""
    x = torch.cat([real, fake]).detach().requires_grad_()  # (2B, 1, 28, 28)
    return squared_slopes(discriminator(x, torch.cat([y, y])), x).mean()


def one_centred_penalty(discriminator, real, fake, y, share):
    """WGAN-GP: slopes between each real digit and a generated one, at a random `share` (B, 1, 1, 1) of the way, are
    drawn to 1 (Gulrajani et al., arXiv 1704.00028)."""
    x = torch.lerp(fake, real, share).detach().requires_grad_()  # (B, 1, 28, 28)
    return (squared_slopes(discriminator(x, y), x).add(1e-12).sqrt() - 1).square().mean()


PENALTIES = {"zero-centred": zero_centred_penalty, "one-centred": one_centred_penalty}
