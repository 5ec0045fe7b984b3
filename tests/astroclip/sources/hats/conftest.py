"""Writers of HATS folders with pyarrow alone, columns in the types that the Multimodal Universe's catalogues have."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy_healpix import HEALPix
from pyarrow import parquet

from polycli.astroclip.recipe.preparing import PrepareRecipe

BANDS = ("DES-G", "DES-R", "DES-I", "DES-Z")


def nested(values, leaf):
    """(n, ...) as lists of lists of the type `leaf`, one for each row."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1), leaf)
    for size in reversed(values.shape[1:]):
        array = pa.ListArray.from_arrays(np.arange(len(array) // size + 1, dtype=np.int32) * size, array)
    return array


def image_struct(pixels, bands=BANDS, scale=0.262):
    """`image` of mmu_legacysurvey_dr10_south_21: a struct of lists, one entry for each band."""
    count, planes = pixels.shape[:2]
    return pa.StructArray.from_arrays(
        [
            pa.array([list(bands)] * count, pa.list_(pa.string())),
            nested(pixels, pa.float32()),
            nested(np.ones(pixels.shape, bool), pa.bool_()),
            nested(np.ones(pixels.shape), pa.float32()),
            nested(np.full((count, planes), 1.3), pa.float32()),
            nested(np.full((count, planes), scale, np.float32), pa.float32()),
        ],
        names=["band", "flux", "mask", "ivar", "psf_fwhm", "scale"],
    )


def image_list(pixels, bands=BANDS, scale=0.262):
    """The older form: a list of structs, one for each band."""
    rows = [
        [
            {"band": band, "flux": plane.tolist(), "psf_fwhm": 1.3, "scale": scale}
            for band, plane in zip(bands, planes, strict=True)
        ]
        for planes in pixels
    ]
    kind = pa.struct(
        [
            ("band", pa.string()),
            ("flux", pa.list_(pa.list_(pa.float32()))),
            ("psf_fwhm", pa.float32()),
            ("scale", pa.float32()),
        ]
    )
    return pa.array(rows, pa.list_(kind))


def spectrum_struct(wavelength, flux, ivar, mask):
    """`spectrum` of mmu_desi_edr_sv3 and mmu_sdss_sdss."""
    return pa.StructArray.from_arrays(
        [
            nested(flux, pa.float32()),
            nested(ivar, pa.float32()),
            nested(np.ones(flux.shape), pa.float32()),
            nested(wavelength, pa.float32()),
            nested(mask, pa.bool_()),
        ],
        names=["flux", "ivar", "lsf_sigma", "lambda", "mask"],
    )


def write(folder, table, *, order=2, name="objects", collection=True, suffix=".parquet", group=4):
    """A collection with one catalogue, and a margin that repeats some of its rows; returns the catalogue's folder."""
    ra, dec = (np.asarray(table[key]) for key in ("ra", "dec"))

    def pixels(level):
        return HEALPix(nside=2**level, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)

    table = table.append_column("_healpix_29", pa.array(np.asarray(pixels(29), np.int64)))
    catalogue = folder / name if collection else folder
    numbers = pixels(order)
    lines = ["Norder,Npix"]
    for number in np.unique(numbers).tolist():
        part = table.filter(pa.array(numbers == number)).sort_by("_healpix_29")
        file = catalogue / "dataset" / f"Norder={order}" / f"Dir={number // 10000 * 10000}" / f"Npix={number}{suffix}"
        if suffix == "/":
            file = file / "part0.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(part, file, row_group_size=group)
        lines.append(f"{order},{number}")
    (catalogue / "partition_info.csv").write_text("\n".join(lines) + "\n")
    parquet.write_metadata(table.schema, catalogue / "dataset" / "_common_metadata")
    (catalogue / "hats.properties").write_text(
        "#HATS catalog\nobs_collection=objects\ndataproduct_type=object\nhats_col_ra=ra\nhats_col_dec=dec\n"
        f"hats_npix_suffix={suffix}\nhats_nrows={len(table)}\n"
    )
    if collection:
        (folder / "collection.properties").write_text(
            f"#HATS Collection\nobs_collection=all\nhats_primary_table_url={name}\nall_margins={name}_10arcs\n"
        )
        margin = folder / f"{name}_10arcs"
        file = margin / "dataset" / "Norder=0" / "Dir=0" / "Npix=0.parquet"
        file.parent.mkdir(parents=True)
        parquet.write_table(table.slice(0, 2), file)
        (margin / "hats.properties").write_text("obs_collection=m\ndataproduct_type=margin\n")
    return catalogue


@pytest.fixture(scope="session")
def hats():
    """The writers, and the recipe `hats.recipe(arrays={...})`."""

    def recipe(**sections):
        return PrepareRecipe(family="astroclip", verb="prepare", **sections)

    def objects(count, seed=0):
        generator = np.random.default_rng(seed)
        return generator.uniform(0, 360, count), np.degrees(np.arcsin(generator.uniform(-1, 1, count)))

    return SimpleNamespace(
        write=write,
        recipe=recipe,
        objects=objects,
        nested=nested,
        image_struct=image_struct,
        image_list=image_list,
        spectrum_struct=spectrum_struct,
        bands=BANDS,
    )
