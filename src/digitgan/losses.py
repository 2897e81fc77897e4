"""Adversarial losses and gradient penalties, as pure functions with their equations.

A discriminator D returns one logit per image; positive means "real". A loss takes the logits of B
real images x and of B generated images G(z), in the same order of labels, each of shape (B,), and
returns the mean over the batch. sigma is the logistic function: softplus(-a) = -log sigma(a).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

Loss = Callable[[Tensor, Tensor], Tensor]  # (real logits, fake logits) -> scalar


def non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x)) - log(1 - sigma(D(G(z)))): Goodfellow et al., arXiv 1406.2661, eq. 1."""
    return softplus(-real).mean() + softplus(fake).mean()


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(G(z))): the minimax game's fixed point, with larger gradients early (ibid.,
    section 3)."""
    return softplus(-fake).mean()


def smoothed_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The non-saturating loss with the target 0.9 for real images (arXiv 1606.03498, section
    3.4)."""
    return (0.9 * softplus(-real) + 0.1 * softplus(real)).mean() + softplus(fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the distance that a 1-Lipschitz D measures (arXiv 1701.07875, eq.
    3)."""
    return (fake - real).mean()


def wasserstein_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-D(G(z))."""
    return -fake.mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(x) - D(G(z))): a real image must look more real than the generated one it is
    paired with (Jolicoeur-Martineau, arXiv 1807.00734; R3GAN, arXiv 2501.05441, eq. 2)."""
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigma(D(G(z)) - D(x)): the same pairs, seen from the generator."""
    return softplus(real - fake).mean()


LOSSES: dict[str, tuple[Loss, Loss]] = {  # name -> (discriminator's loss, generator's loss)
    "non-saturating": (non_saturating_discriminator, non_saturating_generator),
    "smoothed": (smoothed_discriminator, non_saturating_generator),
    "wasserstein": (wasserstein_discriminator, wasserstein_generator),
    "relativistic": (relativistic_discriminator, relativistic_generator),
}


def one_stage_generator_gradient(
    losses: tuple[Loss, Loss], real: Tensor, fake: Tensor, discriminator_gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """L_G and its gradient at the generated images, without a second pass through D.

    Both losses see a generated image g only through its own logit l = D(g), as long as D has no
    BatchNorm. By the chain rule

        dL_D/dg = dL_D/dl * dl/dg
        dL_G/dg = dL_G/dl * dl/dg = (dL_G/dl / dL_D/dl) * dL_D/dg,

    so the discriminator's own gradient, scaled image by image, is the generator's (one-stage
    training, Shen et al., arXiv 2103.00430).

    real, fake: logits (B,). discriminator_gradient: dL_D/dg, (B, C, H, W), without penalties.
    Returns L_G, a scalar, and dL_G/dg, (B, C, H, W).
    """
    discriminator_loss, generator_loss = losses
    real, fake = real.detach(), fake.detach().requires_grad_()
    loss = generator_loss(real, fake)
    (dlg_dl,) = torch.autograd.grad(loss, fake)  # (B,)
    (dld_dl,) = torch.autograd.grad(discriminator_loss(real, fake), fake)  # (B,)
    ratio = (dlg_dl / dld_dl).clamp(-1e15, 1e15)  # finite; beyond a logit gap of 35 G's part fades
    return loss.detach(), ratio[:, None, None, None] * discriminator_gradient


def squared_gradient_norm(logits: Tensor, images: Tensor) -> Tensor:
    """||d logit / d image||^2 of each image, (B,), which can be differentiated again.

    images (B, C, H, W) must require gradients, and logits (B,) must come from them.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3))


def r1_r2_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
    """(R1 + R2) / 2, with R1 = E ||grad D(x)||^2 at real images and R2 the same at generated ones
    (Mescheder et al., arXiv 1801.04406, eqs. 9 and 10; R3GAN, arXiv 2501.05441)."""
    images = torch.cat([real, fake]).detach().requires_grad_()  # (2B, C, H, W)
    return squared_gradient_norm(discriminator(images, torch.cat([y, y])), images).mean()
