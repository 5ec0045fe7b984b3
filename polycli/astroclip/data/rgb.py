"""Turns nanomaggies into the input of the image encoder, cropped to the middle; `model.image.input` names one of four.

- `rgb`: an asinh stretch that keeps colours, Lupton et al. 2004 with the constants of the Legacy Surveys' viewer, as
  AstroCLIP and AstroDINO use it (Parker et al. 2024, 4.1);
- `stein`: the same, but for one pair of brackets, as Stein et al. 2021 trained their ResNet-50: its weights expect it;
- `flux`: nanomaggies as they are, as the image encoder of the workshop version saw them (Lanusse et al. 2023);
- `asinh`: the stretch of `rgb` on each band by itself, for any number of bands.

Bands are found by name: planes may come in any order, with others between them.

Batched, on the device that the cutouts are on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polycli.astroclip.data.cutouts.middle import first_of_middle
from polycli.astroclip.recipe.model import BANDS, COLOURS, ImageInput
from polycli.errors import UserError

#: By band: place among (red, green, blue) of the output, and factor on the flux.
PLANES = {"z": (0, 2.2), "r": (1, 3.4), "g": (2, 6.0)}
#: Added to every scaled flux, in nanomaggies.
OFFSET = 0.03
#: How soon the stretch turns from linear to logarithmic.
STRETCH = 20.0
#: Images that are made at a time on a CPU.
IMAGES_IN_CACHE = 4


def to_rgb(flux: Float[Tensor, "*b c h w"], bands: Sequence[str] = BANDS) -> Float[Tensor, "*b 3 h w"]:
    """Colours between 0 and 1, planes in the order z, r, g, from cutouts in nanomaggies whose planes are `bands`.

    Every pixel keeps its colour: all planes are multiplied by the stretch of their mean.

    Raises:
        UserError: `flux` is not (..., C, H, W) with one plane per band, or a band has no colour here.
    """
    return as_seen(flux, "rgb", bands)


def as_seen(
    flux: Float[Tensor, "*b c h w"], kind: ImageInput, bands: Sequence[str] = BANDS, planes: Sequence[str] = BANDS
) -> Float[Tensor, "*b p h w"]:
    """Cutouts in nanomaggies, whose planes are `bands`, as an image encoder of that kind sees them.

    `planes` are the bands that a kind without colours sees, in its order.

    Raises:
        UserError: `flux` is not (..., C, H, W) with one plane per band, or a band that is seen is not among them once.
    """
    wanted = tuple(BANDS if kind in COLOURS else planes)
    _check_bands(bands, wanted, colours=kind in COLOURS)
    _check_shape(flux, bands)
    if set(bands) != set(wanted) or (kind not in COLOURS and tuple(bands) != wanted):
        flux, bands = flux[..., [list(bands).index(band) for band in wanted], :, :], wanted
    make = _MAKERS[kind]
    if flux.device.type == "cpu" and flux.ndim == 4 and len(flux) > IMAGES_IN_CACHE:
        # A few images at a time stay in the processor's cache from one operation to the next.
        return torch.cat([make(part, bands) for part in torch.split(flux, IMAGES_IN_CACHE)])
    return make(flux, bands)


def centre_crop(images: Float[Tensor, "*b c h w"], size: int) -> Float[Tensor, "*b c s s"]:
    """The middle `size` x `size` pixels; of 152 and 144, four are left out on each side.

    Raises:
        UserError: the images are smaller than that.
    """
    height, width = images.shape[-2:]
    if height < size or width < size:
        raise UserError(f"cutouts are {height} x {width} pixels, the model's input is {size} x {size}")
    top, left = first_of_middle(height, size), first_of_middle(width, size)
    return images[..., top : top + size, left : left + size]


def model_input(
    flux: Float[Tensor, "b c h w"],
    size: int,
    bands: Sequence[str] = BANDS,
    kind: ImageInput = "rgb",
    planes: Sequence[str] = BANDS,
) -> Float[Tensor, "b p s s"]:
    """Cutouts in nanomaggies to the image encoder's input: the crop first, since it leaves less to stretch."""
    return as_seen(centre_crop(flux, size), kind, bands, planes)


def _stretched(flux: Float[Tensor, "*b c h w"], bands: Sequence[str]) -> Float[Tensor, "*b 3 h w"]:
    planes = torch.stack([plane * PLANES[band][1] for band, plane in _colours(flux, bands)], dim=-3)
    planes = planes.add_(OFFSET)
    return planes.mul_(_gain(planes)).clamp_(0, 1)


def _stretched_by_stein(flux: Float[Tensor, "*b c h w"], bands: Sequence[str]) -> Float[Tensor, "*b 3 h w"]:
    """`image * (scales + m * fI / I)`, where `(image * scales + m) * fI / I` was meant: linear, and cut off at 1."""
    colours = _colours(flux, bands)
    gain = OFFSET * _gain(torch.stack([plane * PLANES[band][1] + OFFSET for band, plane in colours], dim=-3))
    seen = [plane * (PLANES[band][1] + gain[..., 0, :, :]) for band, plane in colours]
    return torch.stack(seen, dim=-3).clamp_(0, 1)


def _plain(flux: Float[Tensor, "*b c h w"], bands: Sequence[str]) -> Float[Tensor, "*b c h w"]:
    del bands
    return flux.float()


def _stretched_alone(flux: Float[Tensor, "*b c h w"], bands: Sequence[str]) -> Float[Tensor, "*b c h w"]:
    """The stretch of each plane by itself, which keeps the sign of what is below zero."""
    del bands
    stretched: Tensor = torch.asinh(flux.float() * STRETCH) / STRETCH**0.5
    return stretched


_MAKERS: dict[ImageInput, Callable[[Tensor, Sequence[str]], Tensor]] = {
    "rgb": _stretched,
    "stein": _stretched_by_stein,
    "flux": _plain,
    "asinh": _stretched_alone,
}


def _colours(flux: Float[Tensor, "*b c h w"], bands: Sequence[str]) -> list[tuple[str, Float[Tensor, "*b h w"]]]:
    """Bands and their planes, from red to blue."""
    order = sorted(range(len(bands)), key=lambda place: PLANES[bands[place]][0])
    return [(bands[place], flux[..., place, :, :].float()) for place in order]


def _gain(planes: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 1 h w"]:
    """Computes the factor by which the stretch multiplies each pixel of scaled planes."""
    intensity = planes.clamp(min=0).mean(dim=-3, keepdim=True)
    scaled = STRETCH * intensity
    # The inverse hyperbolic sine of what is not negative; torch's own is eight times slower on CPUs.
    square = scaled * scaled
    stretched = torch.log1p(square.div_(square.add(1).sqrt_().add_(1)).add_(scaled)).div_(STRETCH**0.5)
    # Where nothing is above zero the stretch is zero too; the published code divides by this number there.
    return stretched.div_(intensity.masked_fill_(intensity == 0, 1e-6))


def _check_bands(bands: Sequence[str], wanted: Sequence[str], *, colours: bool) -> None:
    """`UserError` unless each band that is seen is there once."""
    if any(list(bands).count(band) != 1 for band in wanted):
        what = "a colour image needs" if colours else "the image encoder needs"
        raise UserError(f"the bands are {', '.join(bands)}; {what} each of {', '.join(wanted)} once")


def _check_shape(flux: Tensor, bands: Sequence[str]) -> None:
    if flux.ndim >= 3 and flux.shape[-3] == len(bands):
        return
    turned = flux.ndim >= 3 and flux.shape[-1] == len(bands)
    raise UserError(
        f"cutouts are {tuple(flux.shape)}, (..., {len(bands)}, height, width) was expected"
        + ("; the bands seem to be the last axis" if turned else ""),
        hint="move the axis of the bands: numpy.moveaxis(images, -1, -3)" if turned else None,
    )
