"""The recipe of `polycli prepare astroclip`: typed and closed. Pure pydantic, no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from polycli.sections import Section, SplitSize


class SelectSection(Section):
    """The part of the source that goes into the store."""

    bands: tuple[str, ...] = Field((), description="these bands, in this order; all as the source has them if empty")
    good_redshifts: bool = Field(
        False, description="only objects with a redshift without warning (ZWARN 0), and galaxies where a type is given"
    )


class SplitSection(Section):
    """Shares of objects for validation and test, and what is divided: objects, or cells of the sky."""

    validation: SplitSize = 0.1
    test: SplitSize = 0.1
    by: Literal["content", "sky"] = Field(
        "content",
        description="content: each object by its hash; sky: healpix cells, so that neighbours, whose cutouts share "
        "pixels, share a split",
    )
    order: int = Field(
        4, ge=0, le=12, description="of the cells of `by: sky`, nested: 4 is 3.7 degrees across, 6 is 0.9, 8 is 0.23"
    )


class QualitySection(Section):
    """Limits beyond which rows are kept out. Such rows are listed in the manifest, with the reason and their ids."""

    max_masked_fraction: float = Field(
        0.5, ge=0, le=1, description="a spectrum with more pixels masked than this is kept out"
    )
    max_blank_fraction: float = Field(
        0.5, ge=0, le=1, description="an image with more pixels of exactly zero in one band than this lacks that band"
    )


class ImagesSection(Section):
    """The size to which cutouts are cropped and what fills their margins; absent, they stay as they are."""

    crop: PositiveInt | None = Field(
        None,
        description="pixels of the files: the middle crop x crop of each cutout, so that cutouts of several sizes can "
        "share a store (--source fits)",
    )
    fill: float | None = Field(
        None,
        description="nanomaggies where pixels that are not finite reach the border of the cutout, as 0 beyond the edge "
        "of a survey; holes within it, and bands with more of them than quality.max_blank_fraction, are rejected",
    )


class PairSection(Section):
    """The rule by which images of one source find spectra of another: --source legacysurvey+desi."""

    by: Literal["id", "sky"] = "sky"
    radius_arcsec: PositiveFloat = Field(1.0, description="of two objects nearest to each other, for `by: sky`")


class CatalogueSection(Section):
    """A table whose columns become properties: FITS, VOTable, Parquet, CSV, ECSV or HDF5."""

    path: str
    hdu: str | NonNegativeInt | None = Field(
        None, description="name or number of the HDU, of a VOTable's TABLE, or HDF5 path; the first table if absent"
    )
    preset: Literal["gz_decals", "provabgs"] | None = Field(
        None,
        description="settings for what is not given: gz_decals, the votes of Galaxy Zoo DECaLS by position; provabgs, "
        "masses and star formation of PROVABGS by TARGETID",
    )
    where: str | None = Field(
        None,
        min_length=1,
        description="rows that are taken, as search --where has it: ZWARN = 0 and SPECTYPE = 'GALAXY'",
    )
    null: tuple[float | str, ...] = Field((), description="marks of missing values in all columns, such as -99")
    by: Literal["id", "sky", "row"] = Field("id", description="row: row i belongs to object i of the source")
    id_column: str | None = Field(None, description="as the source calls ids, else TARGETID, object_id, ... if absent")
    ra_column: str | None = Field(None, description="RA, TARGET_RA, RAJ2000, ... if absent")
    dec_column: str | None = Field(None, description="DEC, TARGET_DEC, DEJ2000, ... if absent")
    ra_unit: Literal["degree", "hour"] | None = Field(
        None, description="of the right ascension; as the file states, else degree, if absent"
    )
    radius_arcsec: PositiveFloat = Field(1.0, description="for by: sky")
    max_separation_arcsec: PositiveFloat | None = Field(
        60.0,
        description="for by: id and row: a row that lies further from its object is refused; null: none is",
    )
    columns: tuple[str, ...] = Field((), description="these; all that hold one value for each object if empty")
    redshift: str | None = Field(
        None, description="the column that is the redshift; if absent, a clear one where objects have none"
    )
    prefix: str = Field("", description="put before the names of the columns")


class ResampleSection(Section):
    """The grids to which spectra and images are brought instead of being refused; absent, nothing is resampled."""

    first: PositiveFloat | None = Field(None, description="Angstrom: spectra go to first, first + step, ... last")
    last: PositiveFloat | None = None
    step: PositiveFloat | None = None
    own: bool = Field(
        False,
        description="where spectra of `spectra`, `mmu` and `hats` differ in wavelengths, keep each on its own, padded "
        "to the longest: for models with model.spectrum.grid: native",
    )
    pixel_scale_arcsec: PositiveFloat | None = Field(None, description="images go to this pixel scale")

    @property
    def looks_at_all(self) -> bool:
        """Whether the wavelengths of every object matter, not those of the first ones."""
        return self.own or self.first is not None

    @model_validator(mode="after")
    def _whole_grid(self) -> ResampleSection:
        given = [value is not None for value in (self.first, self.last, self.step)]
        if any(given) and not all(given):
            raise ValueError("first, last and step of the wavelength grid are given together")
        if self.own and self.first is not None:
            raise ValueError("own keeps spectra on their own wavelengths, and first, last and step name others")
        if self.first is not None and self.last is not None and self.last <= self.first:
            raise ValueError(f"last ({self.last:g}) is not above first ({self.first:g})")
        return self


WavelengthUnit = Literal["Angstrom", "nanometre", "micrometre", "log10_Angstrom"]
PixelUnit = Literal["nanomaggy", "maggy", "nanojansky", "microjansky", "jansky"]
#: AB magnitude of a pixel value of 1: a jansky is 8.90, since 3631 of them are 0.
ZERO_POINTS: dict[PixelUnit, float] = {
    "nanomaggy": 22.5,
    "maggy": 0.0,
    "nanojansky": 31.4,
    "microjansky": 23.9,
    "jansky": 8.9,
}
#: Magnitudes by which a zero point and a unit may differ: 31.4 nanojansky are 31.40006.
_SAME_ZERO_POINT = 0.01
#: The unit of flux densities in stores, erg/s/cm2/A.
FLUX_UNIT = 1e-17


class ArraysSection(Section):
    """The contents of the files of --source arrays: npy, npz or HDF5. Names are keys, or file names without `.npy`."""

    image: str | None = Field("image", description="(object, band, y, x)")
    bands: tuple[str, ...] = Field(("g", "r", "z"), description="of the axis `band`, in its order")
    order: Literal["band_first", "band_last"] = Field(
        "band_first", description="band_last: the images are (object, y, x, band)"
    )
    pixel_scale_arcsec: PositiveFloat = 0.262
    pixel_unit: PixelUnit | None = Field(
        None,
        description="nanomaggy where neither it nor zero_point is given, and refused where that cannot be; of --source "
        "fits, for files without BUNIT",
    )
    zero_point: float | None = Field(None, description="AB magnitude of a pixel value of 1, in place of pixel_unit")
    spectrum: str | None = Field("spectrum", description="(object, wavelength)")
    flux_unit: PositiveFloat | None = Field(
        None,
        description="erg/s/cm2/A that a flux of 1 stands for; 1e-17 where absent, and refused where that cannot be",
    )
    ivar: str | None = "ivar"
    error: str | None = Field("error", description="standard deviations, read where there is no `ivar`")
    mask: str | None = Field("mask", description="True or not 0 where a pixel is bad")
    wavelength: str = Field("wavelength", description="(wavelength,)")
    wavelength_unit: WavelengthUnit | None = Field(
        None, description="Angstrom where absent, and refused where that cannot be"
    )
    medium: Literal["vacuum", "air"] = "vacuum"
    frame: Literal["observed", "rest"] = "observed"
    object_id: str = "object_id"
    ra: str = "ra"
    dec: str = "dec"
    redshift: str = "redshift"
    null: tuple[float | str, ...] = Field((), description="marks of missing values in positions, redshifts and columns")

    @model_validator(mode="after")
    def _one_zero_point(self) -> ArraysSection:
        if self.pixel_unit is not None and self.zero_point is not None:
            stated = ZERO_POINTS[self.pixel_unit]
            if abs(stated - self.zero_point) > _SAME_ZERO_POINT:
                raise ValueError(
                    f"pixel_unit {self.pixel_unit} has the zero point {stated:g}, and zero_point is {self.zero_point:g}"
                )
        return self

    @property
    def ab_zero_point(self) -> float:
        """AB magnitude of a pixel value of 1, as the zero point or the unit says."""
        return ZERO_POINTS[self.pixel_unit or "nanomaggy"] if self.zero_point is None else self.zero_point

    @property
    def flux_scale(self) -> float:
        """How many erg/s/cm2/A a flux of 1 stands for."""
        return FLUX_UNIT if self.flux_unit is None else self.flux_unit


class SpectraSection(Section):
    """The contents of the files of --source spectra, one spectrum in each; what is absent goes by usual names."""

    flux: str | None = Field(None, description="column of a table, or name of an image; FLUX and the like if absent")
    wavelength: str | None = Field(None, description="likewise; WAVELENGTH, LOGLAM, or the image's CRVAL1 and CDELT1")
    ivar: str | None = Field(None, description="likewise; IVAR")
    error: str | None = Field(None, description="standard deviations, read where there is no ivar; ERROR, SIGMA")
    mask: str | None = Field(None, description="not 0 where a pixel is bad; MASK, QUALITY")
    flux_unit: PositiveFloat | None = Field(
        None, description="erg/s/cm2/A that a flux of 1 stands for; by the file's unit if absent"
    )
    wavelength_unit: WavelengthUnit | None = Field(None, description="by the file's unit if absent, else Angstrom")
    wavelength_scale: Literal["linear", "log10"] | None = Field(
        None, description="of the wavelengths or their axis; by DC-FLAG or CTYPE1 if absent"
    )
    medium: Literal["vacuum", "air"] | None = Field(None, description="by CTYPE1 or AIRORVAC if absent, else vacuum")
    object_id: str | None = Field(None, description="header card with the id; the name of the file if absent")
    ra: str | None = Field(None, description="header card, in degrees or hh:mm:ss; RA and the like if absent")
    dec: str | None = None
    redshift: str | None = Field(None, description="header card; REDSHIFT or Z if absent")


FibreFlag = Literal[
    "UNASSIGNED",
    "STUCKPOSITIONER",
    "BROKENFIBER",
    "RESTRICTED",
    "MISSINGPOSITION",
    "BADPOSITION",
    "POORPOSITION",
    "LOWEFFTIME",
    "BADFIBER",
    "BADTRACE",
    "BADFLAT",
    "BADARC",
    "MANYBADCOL",
    "MANYREJECTED",
    "BADAMPB",
    "BADAMPR",
    "BADAMPZ",
    "ANY",
]


class DesiSection(Section):
    """The flags of fibres for which --source desi leaves out exposures."""

    fibre_mask: tuple[FibreFlag, ...] = Field(
        (
            *("BROKENFIBER", "MISSINGPOSITION", "BADPOSITION", "BADFIBER", "BADTRACE", "BADFLAT", "BADARC"),
            *("MANYBADCOL", "MANYREJECTED", "BADAMPB", "BADAMPR", "BADAMPZ"),
        ),
        description="flags of (COADD_)FIBERSTATUS: an exposure with one is left out, of BADAMPB, R or Z in that camera "
        "alone; ANY is any flag. The default is what desispec leaves out of its coadds",
    )


class MmuSection(Section):
    """The tables of --source mmu, sets of the Multimodal Universe, that their files do not settle by themselves."""

    zwarn: Literal["flag", "good"] | None = Field(
        None,
        description="what True means where ZWARN is a truth value: flag, a warning, as in HDF5 and HATS; good, none, "
        "as in the Parquet files of the first release's Hugging Face export; by the kind of file if absent",
    )
    zero_point: float | None = Field(
        None,
        description="AB magnitude of a pixel value of 1 in images of other surveys than the Legacy Surveys, whose "
        "pixels are nanomaggies (22.5)",
    )


class MockSection(Section):
    """The simulated survey of --source mock."""

    objects: PositiveInt = Field(1200, le=10**8)
    seed: int = Field(0, ge=0, lt=2**31)
    magnitude_limit: float = Field(19.5, ge=16, le=21, description="faintest r magnitude (AB)")
    size: PositiveInt = Field(152, ge=32, le=512, description="height and width of the images in pixels")


class PrepareRecipe(Section):
    """A whole recipe of `polycli prepare astroclip`."""

    family: Literal["astroclip"]
    verb: Literal["prepare"]
    select: SelectSection = SelectSection()
    quality: QualitySection = QualitySection()
    images: ImagesSection = ImagesSection()
    split: SplitSection = SplitSection()
    pair: PairSection = PairSection()
    catalogues: tuple[CatalogueSection, ...] = ()
    resample: ResampleSection = ResampleSection()
    arrays: ArraysSection = ArraysSection()
    spectra: SpectraSection = SpectraSection()
    desi: DesiSection = DesiSection()
    mmu: MmuSection = MmuSection()
    mock: MockSection = MockSection()
