"""Cells of the sky share a split; objects without a position are refused by name."""

import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix

from polycli.astroclip.data.sky.splitting import split_objects
from polycli.astroclip.data.store import open_objects
from polycli.astroclip.recipe.preparing import SplitSection
from polycli.errors import SourceError


def hashes(count):
    return [f"{number:032x}" for number in np.random.default_rng(0).integers(0, 2**62, count)]


def test_all_objects_of_a_cell_share_a_split_and_the_shares_are_about_those_asked_for():
    generator = np.random.default_rng(1)
    ra, dec = generator.uniform(0, 360, 4000), np.degrees(np.arcsin(generator.uniform(-1, 1, 4000)))
    splits, rule = split_objects(hashes(4000), ra, dec, SplitSection(by="sky", order=3, validation=0.1, test=0.2))

    cells = HEALPix(nside=8, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    assert all(len({splits[row] for row in np.flatnonzero(cells == cell)}) == 1 for cell in np.unique(cells))
    shares = [splits.count(name) / 4000 for name in ("test", "validation", "train")]
    np.testing.assert_allclose(shares, [0.2, 0.1, 0.7], atol=0.05)  # of 768 cells: 0.014 and 0.011 are one sigma
    assert f"sky (healpix cells of order 3, nested; {len(np.unique(cells))} of them hold objects) hash" in rule


def test_by_content_the_split_of_an_object_is_what_it_was():
    ra = np.full(40, np.nan)
    splits, rule = split_objects(hashes(40), ra, ra, SplitSection())

    assert set(splits) == {"train", "validation", "test"}
    assert rule.startswith("by content hash: 0.1 test, 0.1 validation")


def arrays(path, ra):
    generator = np.random.default_rng(3)
    count = len(ra)
    np.savez(
        path,
        image=generator.normal(1, 1, (count, 3, 8, 8)).astype(np.float32),
        object_id=np.arange(count),
        ra=ra,
        dec=np.full(count, 12.0),
    )
    return path


def test_a_store_by_sky_says_so_and_holds_no_cell_in_two_splits(tmp_path, prepare):
    ra = np.repeat(np.arange(0, 60, 5.0), 3) + np.tile([0, 1e-3, 2e-3], 12)
    file = arrays(tmp_path / "a.npz", ra)
    prepare("arrays", tmp_path / "sky.zarr", "split.by=sky", "split.order=5", "split.test=0.3", inputs=[file])

    store = open_objects(tmp_path / "sky.zarr")
    members = {name: set(store.rows(name).tolist()) for name in ("train", "validation", "test")}
    for first in range(0, 36, 3):
        assert any({first, first + 1, first + 2} <= rows for rows in members.values())
    assert "sky (healpix cells of order 5" in store.manifest.split_rule
    assert store.manifest.options["split"] == {"validation": 0.1, "test": 0.3, "by": "sky", "order": 5}


def test_an_object_without_a_position_is_refused_by_name(tmp_path, prepare):
    ra = np.array([1.0, np.nan, 3.0, 4.0])
    file = arrays(tmp_path / "a.npz", ra)

    with pytest.raises(SourceError, match="1 of 4 objects have no position, the first is 1"):
        prepare("arrays", tmp_path / "sky.zarr", "split.by=sky", inputs=[file])


def test_a_single_cell_trains_and_that_is_said(tmp_path, prepare, capsys):
    file = arrays(tmp_path / "a.npz", np.array([10.0, 10.001, 10.002]))
    prepare("arrays", tmp_path / "sky.zarr", "split.by=sky", inputs=[file])

    assert open_objects(tmp_path / "sky.zarr").manifest.splits["train"] == 3
    assert "all objects are in one cell of order 4" in capsys.readouterr().err
