"""Describes the images, spectra and columns of a store (bands, scales, frames, units), from sources to checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from polycli.errors import StoreError
from polycli.names import free_names

#: AB magnitude of one nanomaggy, the unit of every pixel in a store.
ZERO_POINT = 22.5
#: Pixel scale of the Legacy Surveys' cutouts.
PIXEL_SCALE = 0.262
#: Bits of the array `quality`, by name.
QUALITY_BITS: dict[str, int] = {
    "no_redshift": 1,
    "no_good_redshift": 2,
    "spectrum_partly_masked": 4,
    "low_signal_to_noise": 8,
    "image_partly_blank": 16,
    "no_position": 32,
}
#: What every store has beside images and spectra, with units.
OWN_COLUMNS = {
    "object_id": "",
    "ra": "deg",
    "dec": "deg",
    "healpix16": "nested, nside 16",
    "healpix29": "nested, nside 2**29",
    "redshift": "",
    "quality": "bits",
}
#: Names that no property has: those, and those of the columns that `embed` adds.
RESERVED_NAMES = (
    *(*OWN_COLUMNS, "split", "image_embedding", "spectrum_embedding", "fused_embedding"),
    *("novelty_image", "novelty_spectrum"),
)
#: What comes before the name of a property that would have one of them.
RESERVED_PREFIX = "catalogue_"
#: Where a property's array lies in a store.
PROPERTY_PREFIX = "property_"
NULL_SUFFIX = "_null"

PropertyKind = Literal["float", "integer", "boolean", "text"]
IdKind = Literal["int64", "text"]


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageDescription(_Description):
    """Images of all objects: (band, y, x) in nanomaggies, north as the source has it."""

    bands: tuple[str, ...]
    #: (height, width) in pixels.
    size: tuple[int, int]
    pixel_scale_arcsec: float = PIXEL_SCALE
    #: AB magnitude of a pixel value of 1.
    zero_point: float = ZERO_POINT
    unit: Literal["nanomaggy"] = "nanomaggy"


class SpectrumDescription(_Description):
    """Spectra of all objects, on one wavelength grid or, with `own`, each on its own."""

    #: Of each spectrum, or of the longest one.
    pixels: int
    #: Wavelengths of the first and the last pixel, and the step where it is one and the same.
    first: float
    last: float
    step: float | None
    wavelength_unit: Literal["Angstrom"] = "Angstrom"
    medium: Literal["vacuum", "air"] = "vacuum"
    frame: Literal["observed", "rest"] = "observed"
    flux_unit: Literal["1e-17 erg/s/cm2/A"] = "1e-17 erg/s/cm2/A"
    #: `unknown`: the source has none; the array then holds 1 in pixels that can be used and 0 in others.
    ivar: Literal["measured", "unknown"] = "measured"
    #: Whether each spectrum has wavelengths of its own, in the store's array `wavelengths`.
    own: bool = False

    @model_serializer(mode="wrap")
    def _without_default(self, dump: SerializerFunctionWrapHandler) -> Mapping[str, object]:
        """Says nothing of `own` where it is not so, as stores and models of earlier versions do."""
        found: Mapping[str, object] = dump(self)
        return found if self.own else {name: value for name, value in found.items() if name != "own"}


#: Part of the wider range of wavelengths that a model's and a store's spectra must share.
IN_COMMON = 0.5
#: What describes the wavelengths of spectra.
_GRID = ("pixels", "first", "last", "step", "own")


def spanning(one: SpectrumDescription, other: SpectrumDescription) -> SpectrumDescription:
    """Describes spectra on the one grid together with those on the other: the longest, from the first to the last."""
    first, last = min(one.first, other.first), max(one.last, other.last)
    same = (one.pixels, one.first, one.last, one.step) == (other.pixels, other.first, other.last, other.step)
    step = one.step if same else None
    pixels = max(one.pixels, other.pixels)
    return one.model_copy(update={"pixels": pixels, "first": first, "last": last, "step": step, "own": False})


def too_little_in_common(trained: SpectrumDescription, found: SpectrumDescription, *, what: str) -> list[str]:
    """A sentence where spectra, which `what` names, share less than half of the wider of two ranges of wavelengths.

    What a model says beyond the wavelengths of its training is a guess, as is what it makes of a small part of them.
    """
    shared = min(trained.last, found.last) - max(trained.first, found.first)
    share = max(shared, 0.0) / max(trained.last - trained.first, found.last - found.first)
    if share >= IN_COMMON:
        return []
    ours, theirs = (f"{each.first:g} to {each.last:g} A" for each in (trained, found))
    return [f"{what}: spectra of {theirs} overlap by {share:.0%} with the training's, {ours}; half was expected"]


class PropertyDescription(_Description):
    """The manifest's entry for a column beside images and spectra."""

    name: str
    #: The store's array; of integers, booleans and texts that may be absent, `<array>_null` says where they are.
    array: str
    unit: str
    kind: PropertyKind
    #: Whether an object may lack it.
    nullable: bool
    source: str


def property_names(names: Sequence[str]) -> list[str]:
    """Returns names of properties for columns with these names: each once, and none that a column of the store has."""
    return free_names(names, taken=RESERVED_NAMES, prefix=RESERVED_PREFIX)


class PairingDescription(_Description):
    """The outcome of pairing: how images and spectra found each other, and how many did not."""

    by: Literal["id", "sky"]
    radius_arcsec: float | None
    pairs: int
    images_left: int
    spectra_left: int
    #: Objects for which a partner was in reach that a nearer one took, or of which two were equally near.
    contested: int


class SurveyDescription(_Description):
    """`manifest.about` of a store of this family."""

    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    object_id: IdKind
    id_name: str
    coordinates: Literal["ICRS degrees"] = "ICRS degrees"
    properties: tuple[PropertyDescription, ...]
    quality: dict[str, int] = QUALITY_BITS
    pairing: PairingDescription | None = None
    #: How many objects are kept with each doubt about them; the manifest's `flagged` lists the first of each alone.
    doubts: dict[str, int] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_doubts(self, dump: SerializerFunctionWrapHandler) -> Mapping[str, object]:
        """Says nothing of doubts where there are none, as stores of earlier versions do."""
        found: Mapping[str, object] = dump(self)
        return found if self.doubts else {name: value for name, value in found.items() if name != "doubts"}


def refuse_mismatch(
    expected: ImageDescription | SpectrumDescription,
    found: ImageDescription | SpectrumDescription | None,
    *,
    what: str,
    any_grid: bool = False,
) -> None:
    """Make sure that `found`, which `what` names, is described as `expected` is; wavelengths too, unless `any_grid`.

    Raises:
        StoreError: something differs, or is not there; both values are in the sentence.
    """
    if found is None:
        kind = "images" if isinstance(expected, ImageDescription) else "spectra"
        raise StoreError(f"{what}: has no {kind}, which are needed")
    if different := mismatches(expected, found, what=what, any_grid=any_grid):
        hint = "prepare the data again with select.bands or resample set in the recipe"
        if isinstance(expected, SpectrumDescription) and not mismatches(expected, found, what=what, any_grid=True):
            hint += ", or read all grids: --set model.spectrum.grid=native"
        raise StoreError(different[0], hint=hint)


def mismatches(
    expected: ImageDescription | SpectrumDescription,
    found: ImageDescription | SpectrumDescription,
    *,
    what: str,
    any_grid: bool = False,
) -> list[str]:
    """Lists where `found`, which is named `what`, differs from `expected`: a sentence for each, with both values.

    Image sizes may differ: models crop. Bands are found by name: there may be more, in any order. Grids of wavelengths
    may differ with `any_grid`.
    """
    kind = "images" if isinstance(expected, ImageDescription) else "spectra"
    if isinstance(found, SpectrumDescription) and found.own and not any_grid:
        return [f"{what}: spectra with wavelengths of their own, and one grid was expected"]
    free = {"size", "bands", *(_GRID if any_grid else ())}
    ours, theirs = (each.model_dump(exclude=free) for each in (expected, found))
    lacking = []
    if isinstance(expected, ImageDescription) and isinstance(found, ImageDescription):
        lacking = [
            f"{what}: images without band {band}, of {', '.join(expected.bands)} that are needed; they have "
            f"{', '.join(found.bands)}"
            for band in expected.bands
            if band not in found.bands
        ][:1]
    return lacking + [
        f"{what}: {kind} with {name.replace('_', ' ')} {theirs.get(name)}, {value} was expected"
        for name, value in ours.items()
        if theirs.get(name) != value
    ]
