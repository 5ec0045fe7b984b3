"""Cutouts of mock galaxies in g, r and z: bulge, disk, bar, spiral arms of bright knots, neighbours, PSF and noise.

PSF widths and noise are drawn from the log-normal fits to DECaLS DR9 that the augmentations of Stein et al. 2021 use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import PIXEL_SCALE
from polycli.astroclip.sources.mock.cosmology import kpc_per_arcsec
from polycli.astroclip.sources.mock.population import Galaxies
from polycli.astroclip.sources.mock.profiles import DE_VAUCOULEURS, EXPONENTIAL, GAUSSIAN, Canvas, add_points

#: Standard deviation of the PSF in pixels, for g, r, z: shape, location and scale of a log-normal.
PSF_FITS = np.array(
    [(0.2109966, 1.0807153, 1.3153171), (0.3008485, 1.2394326, 0.9164757), (0.3471172, 1.1928363, 0.8233702)]
)
#: Standard deviation of the noise in nanomaggies per pixel, likewise.
NOISE_FITS = np.array(
    [(0.2264926, -0.0006735, 0.0037602), (0.2431146, -0.0023663, 0.0067417), (0.1334844, -0.0143416, 0.0260779)]
)
#: Sigma to full width at half maximum.
FWHM = 2 * math.sqrt(2 * math.log(2))
#: A fibre of DESI is 1.5 arcsec wide.
FIBRE_RADIUS = 0.75
#: Nearest and farthest neighbour, arcsec; the farthest at the edge of a cutout of 152 pixels.
_NEIGHBOURS = (6.0, 20.0)
#: Bulges are redder than their galaxy, knots bluer: factors in g, r, z.
_BULGE_COLOUR = (0.8, 1.0, 1.12)
_KNOT_COLOUR = (1.3, 1.0, 0.7)


@dataclass(frozen=True)
class Seeing:
    """Blur and noise of one observation, in g, r, z."""

    #: Standard deviation in pixels.
    psf: NDArray[np.float64]
    #: Nanomaggies per pixel.
    noise: NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """The part of a galaxy's look that is not in its physics: how it lies, its knots, bar and neighbours, in pixels."""

    angle: float
    radius: float
    knot_fraction: float
    knot_x: NDArray[np.float64]
    knot_y: NDArray[np.float64]
    bar: float
    spiral: bool
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Neighbour:
    """A galaxy or star that happens to be near, or light from one."""

    x: float
    y: float
    #: Nanomaggies in g, r, z.
    flux: tuple[float, float, float]
    radius: float
    axis_ratio: float
    angle: float


def draw_seeing(generator: np.random.Generator) -> Seeing:
    """PSF and noise of one exposure."""
    psf = [generator.lognormal(math.log(scale), shape) + location for shape, location, scale in PSF_FITS]
    noise = [generator.lognormal(math.log(scale), shape) + location for shape, location, scale in NOISE_FITS]
    return Seeing(np.array(psf), np.clip(noise, 1e-3, None))


def draw_look(generator: np.random.Generator, galaxies: Galaxies, index: int) -> Look:
    """Draws how galaxy number `index` lies and what is around it."""
    scale = float(kpc_per_arcsec(galaxies.redshift[index : index + 1])[0])
    radius = float(np.clip(galaxies.radius[index] / scale / PIXEL_SCALE, 0.5, 40))
    bulge, ratio = float(galaxies.bulge_fraction[index]), float(galaxies.axis_ratio[index])
    forming = not bool(galaxies.quiescent[index])
    fraction = float(np.clip(0.06 + 0.12 * (galaxies.ssfr[index] + 10.5), 0, 0.3)) * (1 - bulge)
    count = int(generator.poisson(250 * fraction))
    angle = float(generator.uniform(0, math.pi))
    distance = generator.gamma(2, 0.55 * radius, count)
    around = generator.uniform(0, 2 * math.pi, count)
    spiral = forming and bulge < 0.5 and ratio > 0.4
    if spiral:
        # Two logarithmic arms.
        arm = math.pi * generator.integers(0, 2, count)
        around = np.log(np.clip(distance / radius, 0.1, None)) / 0.35 + arm + 0.25 * generator.standard_normal(count)
    along, across = distance * np.cos(around), distance * np.sin(around) * ratio
    barred = spiral and generator.random() < 0.3
    return Look(
        angle=angle,
        radius=radius,
        knot_fraction=fraction if count else 0.0,
        knot_x=math.cos(angle) * along - math.sin(angle) * across,
        knot_y=math.sin(angle) * along + math.cos(angle) * across,
        bar=0.2 if barred else 0.0,
        spiral=spiral,
        neighbours=tuple(_draw_neighbour(generator) for _ in range(generator.poisson(0.6))),
    )


def _draw_neighbour(generator: np.random.Generator) -> Neighbour:
    # Not on top of the galaxy: a spectrum is of one object, and so should its image be.
    distance = generator.uniform(*_NEIGHBOURS) / PIXEL_SCALE
    direction = generator.uniform(0, 2 * math.pi)
    red = 10 ** (-0.4 * (generator.uniform(18.5, 22) - 22.5))
    colours = generator.normal(0.6, 0.25), generator.normal(0.4, 0.2)
    star = generator.random() < 0.3
    return Neighbour(
        x=distance * math.cos(direction),
        y=distance * math.sin(direction),
        flux=(red * 10 ** (-0.4 * colours[0]), red, red * 10 ** (0.4 * colours[1])),
        radius=0.0 if star else float(generator.uniform(1.5, 5)),
        axis_ratio=float(generator.uniform(0.3, 1)),
        angle=float(generator.uniform(0, math.pi)),
    )


def draw_image(galaxies: Galaxies, index: int, look: Look, seeing: Seeing, size: int) -> NDArray[np.float32]:
    """(3, size, size) nanomaggies without noise and without neighbours."""
    image = np.zeros((3, size, size), np.float32)
    canvas = Canvas(size, look.angle)
    bar_canvas = Canvas(size, look.angle + 0.8) if look.bar else canvas
    bulge, ratio = float(galaxies.bulge_fraction[index]), float(galaxies.axis_ratio[index])
    bulge_radius = look.radius * (1.0 if galaxies.quiescent[index] else 0.5)
    for band in range(3):
        flux, blur = float(galaxies.flux[index, band]), float(seeing.psf[band])
        share = min(bulge * _BULGE_COLOUR[band], 0.99)
        knots = look.knot_fraction * _KNOT_COLOUR[band]
        disk = flux * (1 - share) * (1 - knots)
        canvas.add(
            image[band], DE_VAUCOULEURS, flux=flux * share, radius=bulge_radius, axis_ratio=max(0.75, ratio), blur=blur
        )
        canvas.add(
            image[band], EXPONENTIAL, flux=disk * (1 - look.bar), radius=look.radius, axis_ratio=ratio, blur=blur
        )
        if look.bar:
            bar_canvas.add(
                image[band], GAUSSIAN, flux=disk * look.bar, radius=0.7 * look.radius, axis_ratio=0.25, blur=blur
            )
        count = len(look.knot_x)
        each = np.full(count, flux * (1 - share) * knots / max(count, 1))
        add_points(image[band], look.knot_x, look.knot_y, each, math.sqrt(0.6 + blur**2))
    return image


def add_neighbours(image: NDArray[np.float32], look: Look, seeing: Seeing) -> None:
    """Draw what is around into an image of `draw_image`."""
    for other in look.neighbours:
        canvas = Canvas(image.shape[-1], other.angle, other.x, other.y)
        for band in range(3):
            profile = EXPONENTIAL if other.radius else GAUSSIAN
            canvas.add(
                image[band],
                profile,
                flux=other.flux[band],
                radius=other.radius,
                axis_ratio=other.axis_ratio,
                blur=float(seeing.psf[band]),
            )


def add_noise(image: NDArray[np.float32], seeing: Seeing, generator: np.random.Generator) -> None:
    """Sky noise, the same everywhere in a band."""
    noise = generator.standard_normal(image.shape, dtype=np.float32)
    image += noise * seeing.noise.astype(np.float32)[:, None, None]


def fibre_flux(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3,) nanomaggies within the fibre at the centre; pixels on its rim count by the part that is inside."""
    size = image.shape[-1]
    reach = math.ceil(FIBRE_RADIUS / PIXEL_SCALE) + 1
    middle = (size - 1) / 2
    start, stop = math.floor(middle) - reach, math.ceil(middle) + reach + 1
    pixels = np.arange(start, stop) - middle
    fine = np.linspace(-0.4, 0.4, 5)
    x = (pixels[:, None] + fine).ravel()
    inside = np.hypot(x, x[:, None]) < FIBRE_RADIUS / PIXEL_SCALE
    weight = inside.reshape(len(pixels), 5, len(pixels), 5).mean(axis=(1, 3))
    flux: NDArray[np.float64] = (image[:, start:stop, start:stop].astype(np.float64) * weight).sum(axis=(1, 2))
    return flux


def morphology(galaxies: Galaxies, index: int, look: Look) -> str:
    """A label as people would give it: smooth, edge-on, barred spiral, spiral or disk."""
    if galaxies.bulge_fraction[index] > 0.5:
        return "smooth"
    if galaxies.axis_ratio[index] < 0.3:
        return "edge-on"
    if look.spiral:
        return "barred spiral" if look.bar else "spiral"
    return "disk"
