"""Adversarial objectives as pure functions of logits (B,), and the gradient penalty.

A discriminator gives one logit per image: positive means "real". Each loss takes the
logits of real digits and of generated ones, in the same order of labels, and gives the
mean over the batch.
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


def gradient_penalty(logits, images):
    """Mean of the squared norm of d logits / d images (Mescheder et al., arXiv 1801.04406).

    On real images this is R1, on generated ones R2. `images` (B, 1, 28, 28) must require
    gradients and `logits` (B,) must have been computed from them; the result can be
    differentiated again. The whole term of the discriminator's loss is gamma / 2 * (R1 + R2).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


OBJECTIVES = {  # name -> (discriminator's loss, generator's loss)
    "non-saturating": (non_saturating_discriminator, non_saturating_generator),
    "relativistic": (relativistic_discriminator, relativistic_generator),
}
