"""Changes an observation in ways that do not change the galaxy.

In a cutout its orientation, place, seeing and noise; in a spectrum its noise, and the share of the light in the fibre.
Images on nanomaggies, batched, on their device. Seeing and noise vary as in DECaLS DR9: log-normal fits by Stein et al.
2021, used by AstroDINO (Parker et al. 2024). Every object draws from its own key: see `astroclip/data/randomness.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from polycli.astroclip.data.randomness import happens, normal, uniform
from polycli.astroclip.data.rgb import as_seen
from polycli.astroclip.recipe.model import BANDS, AugmentationSection, ImageInput
from polycli.errors import UserError


@dataclass(frozen=True)
class LogNormal:
    """loc + scale * exp(shape * n), n normal; scipy's names."""

    shape: float
    loc: float
    scale: float


#: By band: deviation of the point spread function in pixels of 0.262 arcsec, and of the noise in nanomaggies per pixel.
SEEING = {
    "g": LogNormal(0.2109966, 1.0807153, 1.3153171),
    "r": LogNormal(0.3008485, 1.2394326, 0.9164757),
    "z": LogNormal(0.3471172, 1.1928363, 0.8233702),
}
NOISE = {
    "g": LogNormal(0.2264926, -0.0006735, 0.0037602),
    "r": LogNormal(0.2431146, -0.0023663, 0.0067417),
    "z": LogNormal(0.1334844, -0.0143416, 0.0260779),
}
#: Half the length of blurring kernels, in pixels; four deviations of what is added in one case of a thousand.
KERNEL_RADIUS = 12
_STREAMS_PER_VIEW = 16
#: The last three of each view, which no image draws from.
_SPECTRUM_GAP_STREAM, _SPECTRUM_NOISE_STREAM, _SPECTRUM_SCALE_STREAM = 13, 14, 15
#: Stretches of a spectrum that can be missing.
GAPS = 24


def augmented_view(
    flux: Float[Tensor, "b c h w"],
    keys: Int[Tensor, " b"],
    section: AugmentationSection,
    *,
    view: int,
    size: int,
    bands: Sequence[str] = BANDS,
    kind: ImageInput = "rgb",
    planes: Sequence[str] = BANDS,
    reach: int | None = None,
) -> Float[Tensor, "b 3 s s"]:
    """One view of each cutout as model input: turned, cropped, blurred, made noisier, then what the encoder sees of it.

    Args:
        flux: nanomaggies, planes in the order of `bands`.
        keys: of the objects; the same keys give the same view.
        section: how likely each change is.
        view: its number; views of one key differ.
        size: pixels along one side.
        bands: of the planes.
        kind: what the encoder sees of nanomaggies.
        planes: the bands that it sees, where it sees no colours.
        reach: how far, in pixels, the middle of a random crop may lie from that of the cutout; anywhere if absent.
    """
    stream = view * _STREAMS_PER_VIEW
    blur, noise = (values[min(view, len(values) - 1)] for values in (section.blur, section.noise))
    if section.rotation == "free":
        flux = rotated(flux, uniform(keys, stream)[:, 0] * (2 * math.pi))
    flux = (
        random_crop(flux, uniform(keys, stream + 1, 2), size, reach)
        if section.crop == "random"
        else _middle(flux, size)
    )
    left_right, up_down = (happens(keys, stream + 2 + axis, section.flip) for axis in range(2))
    turned = happens(keys, stream + 4, 0.5 if section.rotation == "quarter" else 0.0)
    flux = oriented(flux, left_right, up_down, turned)
    if blur > 0:
        flux = blurred(flux, _added(SEEING, bands, keys, stream + 5) * happens(keys, stream + 6, blur)[:, None])
    if noise > 0:
        deviations = _added(NOISE, bands, keys, stream + 7) * happens(keys, stream + 8, noise)[:, None]
        flux = flux + normal(keys, stream + 9, flux[0].numel()).view_as(flux) * deviations[:, :, None, None]
    return as_seen(flux, kind, bands, planes)


def augmented_spectrum(
    flux: Float[Tensor, "b l"],
    ivar: Float[Tensor, "b l"] | None,
    mask: Bool[Tensor, "b l"] | None,
    keys: Int[Tensor, " b"],
    section: AugmentationSection,
    *,
    view: int = 0,
) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"] | None, Bool[Tensor, "b l"] | None]:
    """Flux, inverse variance and mask of spectra as another observation would have them.

    Noise needs the inverse variance. Gaps are in views after the first alone.
    """
    stream = view * _STREAMS_PER_VIEW
    if section.spectrum_noise > 0:
        if ivar is None:
            raise ValueError("the noise of a spectrum is known from its inverse variance, and there is none")
        flux, ivar = noisier_spectra(flux, ivar, keys, section.spectrum_noise, stream + _SPECTRUM_NOISE_STREAM)
    if section.spectrum_scale > 0:
        factor = 10 ** (section.spectrum_scale * normal(keys, stream + _SPECTRUM_SCALE_STREAM))
        flux, ivar = flux * factor, None if ivar is None else ivar / factor**2
    if view > 0 and section.spectrum_gaps > 0:
        missing = uniform(keys, stream + _SPECTRUM_GAP_STREAM, GAPS) < section.spectrum_gaps
        gaps = missing[:, torch.arange(flux.shape[1], device=flux.device) * GAPS // flux.shape[1]]
        seen = (flux * ~gaps).sum(dim=1, keepdim=True) / (~gaps).sum(dim=1, keepdim=True).clamp(min=1)
        flux = torch.where(gaps, seen, flux)
        ivar, mask = None if ivar is None else ivar * ~gaps, None if mask is None else mask | gaps
    return flux, ivar, mask


def noisier_spectra(
    flux: Float[Tensor, "b l"],
    ivar: Float[Tensor, "b l"],
    keys: Int[Tensor, " b"],
    amount: float,
    stream: int = _SPECTRUM_NOISE_STREAM,
) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"]]:
    """Spectra with noise of `amount` times their own deviation added, and the inverse variance that they then have.

    Pixels whose inverse variance is zero stay as they are: how uncertain they are is not known.
    """
    deviation = torch.where(ivar > 0, ivar.clamp(min=torch.finfo(ivar.dtype).tiny).rsqrt(), 0.0)
    noise = normal(keys, stream, flux.shape[1]) * deviation
    return flux + amount * noise, ivar / (1 + amount**2)


def oriented(
    images: Float[Tensor, "b c s s"],
    left_right: Bool[Tensor, " b"],
    up_down: Bool[Tensor, " b"],
    swapped: Bool[Tensor, " b"],
) -> Float[Tensor, "b c s s"]:
    """Images mirrored along an axis where chosen, then with their axes swapped where chosen.

    Of the eight ways in which a square can lie, each is one choice of the three: quarter turns are among them.
    """
    images = torch.where(left_right[:, None, None, None], images.flip(3), images)
    images = torch.where(up_down[:, None, None, None], images.flip(2), images)
    return torch.where(swapped[:, None, None, None], images.transpose(2, 3), images)


def rotated(images: Float[Tensor, "b c h w"], angles: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
    """Images turned about their middle by angles in radians, bilinear; what lies outside is mirrored in."""
    cosine, sine = angles.cos(), angles.sin()
    zero = torch.zeros_like(cosine)
    rows = [torch.stack([cosine, -sine, zero], dim=1), torch.stack([sine, cosine, zero], dim=1)]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def random_crop(
    images: Float[Tensor, "b c h w"], places: Float[Tensor, "b 2"], size: int, reach: int | None = None
) -> Float[Tensor, "b c s s"]:
    """`size` x `size` pixels of each image; `places` in [0, 1) go from the first to the last position along y and x.

    With `reach`, from `reach` pixels before the middle position to as many behind it.
    """
    firsts, rooms = [], []
    for side in images.shape[2:]:
        last = side - size
        most = last if reach is None else min((last + 1) // 2 + reach, last)
        first = 0 if reach is None else max(last // 2 - reach, 0)
        firsts.append(first)
        rooms.append(most - first + 1)
    room, first_corner = (torch.tensor(values, device=images.device) for values in (rooms, firsts))
    corners = first_corner + (places * room).long()
    steps = torch.arange(size, device=images.device)
    rows, columns = corners[:, :1] + steps, corners[:, 1:] + steps
    images = images.gather(2, rows[:, None, :, None].expand(-1, images.shape[1], -1, images.shape[3]))
    return images.gather(3, columns[:, None, None, :].expand(-1, images.shape[1], size, -1))


def blurred(images: Float[Tensor, "b c h w"], deviations: Float[Tensor, "b c"]) -> Float[Tensor, "b c h w"]:
    """Each plane convolved with a Gaussian of its own, one axis after the other; a deviation of 0 changes nothing."""
    height, width = images.shape[2:]
    radius = min(KERNEL_RADIUS, height - 1, width - 1)  # what lies outside is mirrored in, once
    steps = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    # A deviation of zero would divide by it; one of a tenth of a pixel is a kernel of 1 between zeros in float32.
    kernels = torch.exp(-0.5 * (steps / deviations.flatten()[:, None].clamp(min=0.1)) ** 2)
    kernels = kernels / kernels.sum(dim=1, keepdim=True)
    planes = images.reshape(1, -1, height, width)
    for kernel, padding in (
        (kernels[:, None, None, :], (radius, radius, 0, 0)),
        (kernels[:, None, :, None], (0, 0, radius, radius)),
    ):
        planes = functional.conv2d(functional.pad(planes, padding, mode="reflect"), kernel, groups=planes.shape[1])
    return planes.view_as(images)


def _added(
    fits: dict[str, LogNormal], bands: Sequence[str], keys: Int[Tensor, " b"], stream: int
) -> Float[Tensor, "b c"]:
    """Draws two values from the fits and returns what to add in quadrature to go from the first to the second, or 0."""
    drawn = normal(keys, stream, 2 * len(bands)).unflatten(1, (2, len(bands)))  # type: ignore[no-untyped-call]
    parts = [
        torch.tensor([_fitted(fits, band, name) for band in bands], device=keys.device)
        for name in ("shape", "loc", "scale")
    ]
    before, after = (parts[1] + parts[2] * torch.exp(parts[0] * drawn)).unbind(dim=1)
    return (after**2 - before**2).clamp(min=0).sqrt()


def _fitted(fits: dict[str, LogNormal], band: str, name: str) -> float:
    """A number of a band's fit; i, which has none, is taken to be halfway from r to z.

    Raises:
        UserError: nothing is known of the band.
    """
    known = [fits[each] for each in (("r", "z") if band == "i" else (band,)) if each in fits]
    if not known:
        raise UserError(
            f"how seeing and noise vary in the band {band} is not known, only in g, r, i and z",
            hint="train without them: --set augmentation.blur=[0,0] --set augmentation.noise=[0,0]",
        )
    return sum(float(getattr(fit, name)) for fit in known) / len(known)


def _middle(images: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c s s"]:
    return random_crop(images, torch.full((len(images), 2), 0.5, device=images.device), size)
