"""torch's random numbers as a function of (seed, step, rank): a resumed run draws what an uninterrupted one draws.

Nothing about them is saved, and what a validation draws does not reach the training.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch

Purpose = Literal["train", "validate"]


def seed_step(seed: int, step: int, rank: int, purpose: Purpose = "train") -> None:
    """Seed torch's generators, on the CPU and on GPUs, for one step on one rank."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    # Generators take 64 bits; the top one is left out, since some back ends read a sign there.
    torch.manual_seed(int.from_bytes(digest, "big") >> 1)
