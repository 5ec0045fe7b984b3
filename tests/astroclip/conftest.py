"""Tiny files in the layouts that surveys use, a tiny prepared store, and the prepare line as a function."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip.prepare import run
from polycli.requests import PrepareRequest

#: First wavelength and number of pixels of DESI's cameras; the step is 0.8 A.
CAMERAS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
#: A release, brick and object, packed as DESI packs them.
FIRST_ID = (9010 << 42) | (1000 << 22)


def desi_ids(count: int, start: int = 0) -> np.ndarray:
    """Ids above 2**53, so that a float would change them."""
    return FIRST_ID + start + np.arange(count, dtype=np.int64)


def coadd(
    path: Path,
    *,
    ids: Sequence[int] | np.ndarray,
    objtype: Sequence[str] | None = None,
    status: Sequence[int] | None = None,
    without: str = "",
    seed: int = 0,
    shift: float = 0.0,
    ra: np.ndarray | None = None,
    dec: np.ndarray | None = None,
    masked: dict[int, slice] | None = None,
    extra: dict[str, np.ndarray] | None = None,
    status_name: str = "COADD_FIBERSTATUS",
) -> dict[str, np.ndarray]:
    """A coadd file, less the HDU `without`; returns its arrays by HDU name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    count = len(ids)
    # Exposures of one target are of one place.
    target = {int(each): number for number, each in reversed(list(enumerate(ids)))}
    ra = 10 + 0.01 * np.array([target[int(each)] for each in ids]) if ra is None else ra
    dec = np.full(count, 5.0) if dec is None else dec
    columns = [
        fits.Column("TARGETID", "K", array=np.asarray(ids, np.int64)),
        fits.Column(status_name, "J", array=np.zeros(count, np.int32) if status is None else np.asarray(status)),
        fits.Column("TARGET_RA", "D", array=ra),
        fits.Column("TARGET_DEC", "D", array=dec),
        fits.Column("OBJTYPE", "3A", array=["TGT"] * count if objtype is None else list(objtype)),
        fits.Column("FLUX_R", "E", array=np.linspace(1, 2, count)),
        fits.Column("MORPHTYPE", "4A", array=["REX"] * count),
    ]
    kinds = {"i": "K", "f": "D"}
    columns += [fits.Column(name, kinds[values.dtype.kind], array=values) for name, values in (extra or {}).items()]
    arrays: dict[str, np.ndarray] = {}
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
    for camera, (first, pixels) in CAMERAS.items():
        flux = generator.standard_normal((count, pixels)).astype(np.float32) + 3
        ivar = generator.uniform(0.5, 2, (count, pixels)).astype(np.float32)
        mask = np.zeros((count, pixels), np.uint32)
        for row, pixel_range in (masked or {}).items():
            mask[row, pixel_range] = 1
        arrays |= {
            f"{camera}_WAVELENGTH": first + shift + 0.8 * np.arange(pixels),
            f"{camera}_FLUX": flux,
            f"{camera}_IVAR": ivar,
            f"{camera}_MASK": mask,
        }
    hdus += [fits.ImageHDU(values, name=name) for name, values in arrays.items()]
    fits.HDUList([hdu for hdu in hdus if hdu.name != without]).writeto(path, overwrite=True)
    return arrays


def redrock(
    path: Path,
    *,
    ids: Sequence[int] | np.ndarray,
    redshift: Sequence[float] | np.ndarray,
    warning: Sequence[int] | None = None,
    kind: Sequence[str] | None = None,
    gain: Sequence[float] | None = None,
) -> None:
    """A file of redshifts."""
    count = len(ids)
    columns = [
        fits.Column("TARGETID", "K", array=np.asarray(ids, np.int64)),
        fits.Column("Z", "D", array=np.asarray(redshift, np.float64)),
        fits.Column("ZERR", "D", array=np.full(count, 1e-5)),
        fits.Column("ZWARN", "K", array=np.zeros(count, np.int64) if warning is None else np.asarray(warning)),
        fits.Column("SPECTYPE", "6A", array=["GALAXY"] * count if kind is None else list(kind)),
        fits.Column("DELTACHI2", "D", array=np.full(count, 100.0) if gain is None else np.asarray(gain)),
        fits.Column("COEFF", "10D", array=np.zeros((count, 10))),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="REDSHIFTS")]).writeto(path)


def legacysurvey(
    path: Path,
    *,
    count: int = 4,
    size: int = 12,
    start: int = 0,
    seed: int = 0,
    ra: np.ndarray | None = None,
    dec: np.ndarray | None = None,
    images: np.ndarray | None = None,
    without: Sequence[str] = (),
) -> np.ndarray:
    """A file of cutouts; returns its images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    if images is None:
        images = generator.standard_normal((count, 3, size, size)).astype(np.float32)
    contents = {
        "images": images,
        "inds": np.arange(count),
        "ra": 10 + 0.01 * np.arange(count) if ra is None else ra,
        "dec": np.full(count, 5.0) if dec is None else dec,
        "release": np.full(count, 9010, np.int16),
        "brickid": np.full(count, 1000, np.int32),
        "objid": start + np.arange(count, dtype=np.int32),
        "flux": generator.uniform(1, 5, (count, 5)).astype(np.float32),
        "ebv": np.full(count, 0.02, np.float32),
        "z_spec": np.array([0.1 if row % 2 else -99.0 for row in range(count)], np.float32),
    }
    with h5py.File(path, "w") as file:
        for name, values in contents.items():
            if name not in without:
                file[name] = values
    return images


def joint(path: Path, *, groups: Sequence[int] = (3, 2), size: int = 12, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """The original project's joint file with so many pairs in each group; returns what is in each."""
    generator = np.random.default_rng(seed)
    written = []
    with h5py.File(path, "w") as file:
        for number, count in enumerate(groups):
            arrays = {
                "images": generator.standard_normal((count, size, size, 3)).astype(np.float32),
                "spectra": generator.standard_normal((count, 7781, 1)).astype(np.float32),
                "redshifts": generator.uniform(0, 0.5, count),
                "targetids": desi_ids(count, 10 * number),
            }
            for name, values in arrays.items():
                file[f"{number}/{name}"] = values
            written.append(arrays)
    return written


@pytest.fixture(scope="session")
def survey_files() -> SimpleNamespace:
    """Writers of tiny files in the surveys' layouts."""
    return SimpleNamespace(
        coadd=coadd, redrock=redrock, legacysurvey=legacysurvey, joint=joint, desi_ids=desi_ids, cameras=CAMERAS
    )


@pytest.fixture(scope="session")
def prepare():
    """`polycli prepare astroclip` as a function: `prepare("mock", output, "mock.objects=4", inputs=[...])`."""

    def prepared(source: str, output: Path, *overrides: str, inputs: Sequence[Path] = (), **options):
        request = PrepareRequest(
            source=source,
            inputs=tuple(inputs),
            output=output,
            overrides=overrides,
            **{"workers": 1, **options},
        )
        return run(request)

    return prepared


@pytest.fixture(scope="session")
def mock_store(tmp_path_factory, prepare) -> Path:
    """A store of 24 simulated pairs; not to be changed."""
    path = tmp_path_factory.mktemp("stores") / "mock.zarr"
    prepare("mock", path, "mock.objects=24", "mock.size=64")
    return path


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """`make_model(name, trained_on=..., said=..., **sections)` writes a tiny untrained model; returns its file."""
    import torch

    from polycli.astroclip.model.astroclip import AstroClip
    from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, SpectrumSection
    from polycli.checkpoints.exported import ModelDescription, write_model

    image = ImageSection(size=48, embed_dim=12, depth=1, num_heads=2, layer_scale=0.5)
    spectrum = SpectrumSection(embed_dim=12, depth=1, num_heads=2)

    def made(name, trained_on=None, said=None, **sections):
        folder = tmp_path_factory.mktemp(name)
        section = ModelSection(
            **({"image": image, "spectrum": spectrum, "heads": HeadSection(embed_dim=16)} | sections)
        )
        torch.manual_seed(0)
        description = ModelDescription(
            family="astroclip",
            verb="pretrain",
            version="0",
            step=7,
            model=section.model_dump(mode="json"),
            trained_on=trained_on or {},
            **(said or {}),
        )
        write_model(folder, AstroClip(section).state_dict(), description)
        return folder / "model.safetensors"

    return made


@pytest.fixture(scope="session")
def tiny_model(make_model):
    """Of the align stage: both encoders and heads."""
    return make_model("aligned")


@pytest.fixture(scope="session")
def image_model(make_model):
    """Of the image stage: one encoder, no head."""
    return make_model("image", spectrum=None, heads=None)


@pytest.fixture(scope="session")
def spectrum_model(make_model):
    """Of the spectrum stage: one encoder, no head."""
    return make_model("spectrum", image=None, heads=None)


@pytest.fixture(scope="session")
def head_model(make_model):
    """Finetuned: quantiles of the redshift and two classes, from images."""
    from polycli.astroclip.recipe.model import PropertySection

    section = PropertySection(
        modalities=("image",),
        regression=("redshift",),
        classification={"morphology": ("round", "long")},
        quantiles=(0.1, 0.9),
    )
    return make_model("finetuned", properties=section)
