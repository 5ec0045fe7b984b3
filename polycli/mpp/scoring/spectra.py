"""Measures how a forecast holds together over time: its correlation with the truth, and its power by wavenumber.

A forecast that is damped towards no change can have a small error while its small structures are gone; its spectrum
says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from polycli.mpp.model.normalization import widen

#: Below this correlation a forecast counts as lost, as in PDE-Refiner (Lippe et al. 2023).
LOST_BELOW = 0.8
_SPACE = (-2, -1)


def correlation(prediction: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
    """Pearson correlation over space; 0 where either field does not vary."""
    centred = [widen(field) - widen(field).mean(dim=_SPACE, keepdim=True) for field in (prediction, target)]
    product = (centred[0] * centred[1]).sum(dim=_SPACE)
    sizes = centred[0].square().sum(dim=_SPACE).sqrt() * centred[1].square().sum(dim=_SPACE).sqrt()
    return torch.where(sizes > 0, product / sizes, torch.zeros_like(product))


def radial_power(field: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c k"]:
    """Power of the field's deviations from its mean, summed over rings of one wavenumber: 1, 2, ... to Nyquist's.

    A ring holds the modes whose distance from zero, in waves per domain, rounds to its number; along the shorter axis
    Nyquist's wavenumber bounds them all. By Parseval's theorem the sum over all modes is the variance.
    """
    field = widen(field)
    height, width = field.shape[-2:]
    modes = torch.fft.fft2(field - field.mean(dim=_SPACE, keepdim=True), norm="forward").abs().square()
    rings = torch.sqrt(
        torch.fft.fftfreq(height, 1 / height, device=field.device)[:, None] ** 2
        + torch.fft.fftfreq(width, 1 / width, device=field.device)[None, :] ** 2
    ).round()
    highest = max(min(height, width) // 2, 1)
    return torch.stack([(modes * (rings == ring)).sum(dim=_SPACE) for ring in range(1, highest + 1)], dim=-1)


@dataclass(frozen=True)
class Spectra:
    """Power by wavenumber at one step of rollouts: (trajectory, field, wavenumber)."""

    step: int
    model: NDArray[np.float64]
    truth: NDArray[np.float64]


def steps_correlated(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Steps from the first for which the correlation, averaged over fields, stays at `LOST_BELOW` or above.

    Args:
        values: (trajectory, step, field); what is not finite counts as lost.

    Returns:
        One number for each trajectory.
    """
    kept = np.nan_to_num(values.mean(axis=2), nan=-1.0, posinf=-1.0, neginf=-1.0) >= LOST_BELOW
    counts: NDArray[np.int64] = np.cumprod(kept, axis=1).sum(axis=1)
    return counts
