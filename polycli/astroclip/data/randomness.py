"""Random numbers of each object by itself: functions of a key and a stream, computed where the tensors are.

Augmentations and masks drawn from these are the same for any number of ranks, any micro-batch size and on any device,
because nothing is drawn from a generator that others draw from too. Counter-based, with the finaliser of SplitMix64
(Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: 2^64 divided by the golden ratio, and the multipliers of the finaliser, as signed 64-bit integers.
_GOLDEN, _FIRST, _SECOND = (value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_BITS = 24


def uniform(keys: Int[Tensor, " b"], stream: int, count: int = 1) -> Float[Tensor, "b n"]:
    """Numbers in [0, 1), independent for every key, stream and place."""
    return _fraction(_words(keys, stream, count), 64 - _BITS)


def normal(keys: Int[Tensor, " b"], stream: int, count: int = 1) -> Float[Tensor, "b n"]:
    """Normal numbers of mean 0 and deviation 1, by Box and Muller's transform; none is beyond 5.8."""
    words = _words(keys, stream, (count + 1) // 2)
    radius = torch.sqrt(-2 * torch.log1p(-_fraction(words, 64 - _BITS)))
    angle = _fraction(words, 64 - 2 * _BITS) * (2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def happens(keys: Int[Tensor, " b"], stream: int, probability: float) -> Tensor:
    """(B,) True with this probability, always at 1 and never at 0."""
    return uniform(keys, stream)[:, 0] < probability


def keys_of(seed: int, places: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Keys of samples: of their places in the order of a whole training, say."""
    return _mix(_mix(places.long() * _GOLDEN + seed) + _FIRST)


def _words(keys: Int[Tensor, " b"], stream: int, count: int) -> Int[Tensor, "b n"]:
    counters = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    return _mix(_mix(keys + _wrapped(stream * 0xD1B54A32D192ED03))[:, None] + counters)


def _mix(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)) * _FIRST
    words = (words ^ _shifted(words, 27)) * _SECOND
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifts words to the right, with zeros from the left, as if they were unsigned."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _fraction(words: Tensor, shift: int) -> Tensor:
    """24 bits of each word as a number in [0, 1) that float32 holds exactly."""
    return (_shifted(words, shift) & ((1 << _BITS) - 1)).float() * 2.0**-_BITS


def _wrapped(number: int) -> int:
    """Modulo 2^64, as a signed number."""
    number %= 1 << 64
    return number - (1 << 64) if number >= 1 << 63 else number
