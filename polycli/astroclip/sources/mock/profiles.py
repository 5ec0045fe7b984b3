"""Light profiles as mixtures of Gaussians (Hogg and Lang 2013), which a Gaussian PSF only widens.

Images are float32 (y, x), in pixels from their centre.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Amplitude and variance, in squared half-light radii, of the exponential profile (their table 1, six Gaussians).
_EXPONENTIAL = (
    (2.34853813e-03, 1.20078965e-03),
    (3.07995260e-02, 8.84526493e-03),
    (2.23364214e-01, 3.91463084e-02),
    (1.17949102e00, 1.39976817e-01),
    (4.33873750e00, 4.60962500e-01),
    (5.99820770e00, 1.50159566e00),
)
#: Of the de Vaucouleurs profile, cut softly at seven to eight radii (eight Gaussians).
_DE_VAUCOULEURS = (
    (4.26347652e-02, 2.23759216e-04),
    (2.40127183e-01, 1.00220099e-03),
    (6.85907632e-01, 4.18731126e-03),
    (1.51937350e00, 1.69432589e-02),
    (2.83627243e00, 6.84850479e-02),
    (4.46467501e00, 2.87207080e-01),
    (5.72440830e00, 1.33320254e00),
    (5.60989349e00, 8.40215071e00),
)
#: Beyond so many standard deviations a Gaussian is 4e-6 of its peak.
_REACH = 5.0


def _normalised(mixture: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    total = sum(amplitude for amplitude, _ in mixture)
    return tuple((amplitude / total, variance) for amplitude, variance in mixture)


EXPONENTIAL = _normalised(_EXPONENTIAL)
DE_VAUCOULEURS = _normalised(_DE_VAUCOULEURS)
#: A single Gaussian of half-light radius 1.
GAUSSIAN = ((1.0, 1 / (2 * math.log(2))),)


class Canvas:
    """A square grid of pixels on which profiles of one centre and one position angle are drawn."""

    def __init__(self, size: int, angle: float, x: float = 0.0, y: float = 0.0) -> None:
        """`angle` of the major axis in radians from x to y; the centre at (x, y) pixels from that of the image."""
        self.size = size
        self.centre = (size - 1) / 2
        self.x, self.y = x, y
        across = np.arange(size, dtype=np.float32) - np.float32(self.centre + x)
        up = (np.arange(size, dtype=np.float32) - np.float32(self.centre + y))[:, None]
        cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        self.major = np.square(cosine * across + sine * up)
        self.minor = np.square(cosine * up - sine * across)

    def add(
        self,
        image: NDArray[np.float32],
        mixture: tuple[tuple[float, float], ...],
        *,
        flux: float,
        radius: float,
        axis_ratio: float,
        blur: float,
    ) -> None:
        """Add a profile of half-light `radius` pixels behind a PSF of standard deviation `blur` pixels."""
        for amplitude, variance in mixture:
            long = variance * radius**2 + blur**2
            short = variance * (radius * axis_ratio) ** 2 + blur**2
            window = self._window(_REACH * math.sqrt(long))
            exponent = self.major[window] * np.float32(-0.5 / long)
            exponent += self.minor[window] * np.float32(-0.5 / short)
            np.exp(exponent, out=exponent)
            exponent *= np.float32(flux * amplitude / (2 * math.pi * math.sqrt(long * short)))
            image[window] += exponent

    def _window(self, reach: float) -> tuple[slice, slice]:
        def part(offset: float) -> slice:
            middle = self.centre + offset
            return slice(max(0, math.floor(middle - reach)), max(0, min(self.size, math.ceil(middle + reach) + 1)))

        return part(self.y), part(self.x)


def add_points(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    width: float,
) -> None:
    """Add round Gaussians of one standard deviation `width`, in pixels, at many places: a product of two axes."""
    if not len(x):
        return
    pixels = np.arange(image.shape[0]) - (image.shape[0] - 1) / 2
    along_x = np.exp(-0.5 * np.square((pixels - x[:, None]) / width))
    along_y = np.exp(-0.5 * np.square((pixels - y[:, None]) / width)) * (flux / (2 * math.pi * width**2))[:, None]
    image += (along_y.T @ along_x).astype(np.float32)
