"""Random numbers and random fields of the initial conditions, the same for a trajectory on every grid.

Coefficients are drawn in an order that does not depend on the grid, so a finer grid samples the same field.
"""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import torch
from torch import Tensor

from polycli.mpp.recipe.training import SimulationSection


def generator(section: SimulationSection, index: int) -> np.random.Generator:
    """Random numbers of trajectory `index`.

    They differ between systems, variants and constants, so that two datasets with one seed share no initial
    condition: split by trajectory, a state that one of them trains on is not tested on in the other.
    """
    key = [section.system, section.variant, section.boundary, sorted(section.parameters.items()), section.seed, index]
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def waves(random: np.random.Generator, grid: int, lowest: float, highest: float, slope: float = 0.0) -> Tensor:
    """A periodic field of zero mean and unit root mean square, (x, y) float64, sampled at cell centres.

    Args:
        random: where phases and amplitudes come from.
        grid: cells along each axis; more than twice `highest`.
        lowest: smallest wave number, in periods per domain.
        highest: largest wave number.
        slope: amplitudes go as wave number to this power.
    """
    reach = math.ceil(highest)
    numbers = np.arange(-reach, reach + 1)
    draws = random.standard_normal((2, numbers.size, reach + 1))
    p, q = np.meshgrid(numbers, np.arange(reach + 1), indexing="ij")
    radius = np.hypot(p, q)
    # Of the modes with q = 0, one of each conjugate pair is enough.
    kept = (radius >= lowest) & (radius <= highest) & ((q > 0) | (p > 0))
    amplitude = np.where(kept, np.maximum(radius, 1.0) ** slope, 0.0)
    coefficients = amplitude * (draws[0] + 1j * draws[1])
    coefficients /= math.sqrt(0.5 * float((np.abs(coefficients) ** 2).sum()))
    place = (np.arange(grid) + 0.5) / grid
    along_x = torch.from_numpy(np.exp(2j * np.pi * np.outer(numbers, place)))
    along_y = torch.from_numpy(np.exp(2j * np.pi * np.outer(np.arange(reach + 1), place)))
    return (along_x.T @ torch.from_numpy(coefficients) @ along_y).real.contiguous()


def centres(grid: int, extent: tuple[float, float]) -> Tensor:
    """Coordinates of the cell centres along one axis, float64."""
    low, high = extent
    return low + (torch.arange(grid, dtype=torch.float64) + 0.5) * ((high - low) / grid)
