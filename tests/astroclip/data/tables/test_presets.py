"""Galaxy Zoo DECaLS and PROVABGS in the forms in which they are released, joined with one word in the recipe."""

import json

import numpy as np
import pytest
from astropy.table import Table

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.data.tables.presets import GALAXY_ZOO_DECALS
from polycli.errors import SourceError

COUNT, FIRST = 6, 39627866878511337


@pytest.fixture
def objects(tmp_path):
    """Arrays of some objects, and the line that joins a catalogue onto them."""
    ra, dec = 150 + 0.1 * np.arange(COUNT), np.full(COUNT, 2.0)
    image = np.random.default_rng(0).normal(1, 1, (COUNT, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=image, object_id=FIRST + np.arange(COUNT), ra=ra, dec=dec)
    return ra, dec


def joined(tmp_path, prepare, **section):
    prepare("arrays", tmp_path / "s.zarr", f"catalogues={json.dumps([section])}", inputs=[tmp_path / "a.npz"])
    return open_objects(tmp_path / "s.zarr")


def votes(path, ra, dec, *, total="total-votes", without="", absent=()):
    """gz_decals_volunteers_5.csv: votes, fractions and debiased fractions of each answer."""
    draw = np.random.default_rng(1)
    columns = {
        "iauname": [f"J{number:06d}.00+000000.0" for number in range(len(ra))],
        "ra": ra,
        "dec": dec,
        "redshift": np.full(len(ra), 0.05),
        "elpetro_absmag_r": np.full(len(ra), -20.0),
    }
    for question, answers in GALAXY_ZOO_DECALS.items():
        counts = draw.integers(0, 20, (len(answers), len(ra)))
        columns[f"{question}_{total}"] = counts.sum(axis=0)
        for answer, values in zip(answers, counts, strict=True):
            columns[f"{question}_{answer}"] = values
            columns[f"{question}_{answer}_fraction"] = values / np.maximum(counts.sum(axis=0), 1)
            columns[f"{question}_{answer}_debiased"] = np.full(len(ra), np.nan)
    columns.pop(without, None)
    columns = {name: values for name, values in columns.items() if not name.startswith(tuple(f"{q}_" for q in absent))}
    Table(columns).write(path, format="ascii.csv")
    return columns


@pytest.mark.parametrize("total", ["total-votes", "total"])
def test_votes_of_galaxy_zoo_become_properties_by_position(tmp_path, prepare, objects, total):
    ra, dec = objects
    columns = votes(tmp_path / "gz.csv", ra[::-1] + 0.5 / 3600, dec, total=total)
    store = joined(tmp_path, prepare, path=str(tmp_path / "gz.csv"), preset="gz_decals")

    expected = {f"{question}_{answer}" for question, answers in GALAXY_ZOO_DECALS.items() for answer in answers}
    expected |= {f"{question}_{total}" for question in GALAXY_ZOO_DECALS}
    assert expected <= {*store.columns}
    for name in ("smooth-or-featured_smooth", "bar_strong", "spiral-arm-count_more-than-4", f"merging_{total}"):
        np.testing.assert_array_equal(store.table().column(name).to_pylist(), columns[name][::-1])
    assert not [name for name in store.columns if name.endswith(("_fraction", "_debiased")) or name == "iauname"]


def test_an_absent_column_of_votes_is_named(tmp_path, prepare, objects):
    votes(tmp_path / "gz.csv", *objects, without="bar_weak")

    with pytest.raises(SourceError, match="has no column bar_weak, which preset gz_decals reads"):
        joined(tmp_path, prepare, path=str(tmp_path / "gz.csv"), preset="gz_decals")


def test_questions_that_a_table_has_not_are_said_and_the_others_read(tmp_path, prepare, objects, capsys):
    columns = votes(tmp_path / "gz.csv", *objects, absent=["merging", "bar"])
    store = joined(tmp_path, prepare, path=str(tmp_path / "gz.csv"), preset="gz_decals")

    np.testing.assert_array_equal(store.table().column("disk-edge-on_yes").to_pylist(), columns["disk-edge-on_yes"])
    assert not [name for name in store.columns if name.startswith(("merging_", "bar_"))]
    said = " ".join(capsys.readouterr().err.split())
    assert "has no votes on 2 of 10 questions of preset gz_decals, which are left out: bar, merging" in said


def test_a_table_without_any_of_the_questions_is_refused(tmp_path, prepare, objects):
    votes(tmp_path / "gz.csv", *objects, absent=list(GALAXY_ZOO_DECALS))

    with pytest.raises(SourceError, match="has no column smooth-or-featured_smooth, which preset gz_decals reads"):
        joined(tmp_path, prepare, path=str(tmp_path / "gz.csv"), preset="gz_decals")


def test_masses_of_provabgs_become_properties_where_the_fit_worked(tmp_path, prepare, objects):
    ra, dec = objects
    mass = 10 + 0.1 * np.arange(COUNT)
    mass[2] = -999.0
    table = Table(
        {
            "TARGETID": FIRST + np.arange(COUNT)[::-1],
            "RA": ra[::-1],
            "DEC": dec,
            "Z_HP": 0.01 * np.arange(1, COUNT + 1),
            "MAG_G": np.full(COUNT, 19.0),
            "MAG_R": np.where(np.arange(COUNT) == 4, -99.0, 18.0),
            "MAG_Z": np.full(COUNT, 17.0),
            "PROVABGS_MCMC": np.zeros((COUNT, 4, 13)),
            "PROVABGS_THETA_BF": np.zeros((COUNT, 13)),
            "PROVABGS_LOGMSTAR_BF": mass,
            "SCHLEGEL_COLOR": np.ones(COUNT),
        }
    )
    table.write(tmp_path / "BGS_ANY_full.provabgs.hdf5", path="catalogue")
    store = joined(tmp_path, prepare, path=str(tmp_path / "BGS_ANY_full.provabgs.hdf5"), preset="provabgs")

    expected = np.where(np.isin(np.arange(COUNT), (2, 4)), np.nan, mass)[::-1]
    np.testing.assert_allclose(store.target("PROVABGS_LOGMSTAR_BF"), expected)
    np.testing.assert_allclose(store.target("redshift"), np.where(np.isnan(expected), np.nan, table["Z_HP"][::-1]))
    assert set(store.columns) >= {"PROVABGS_LOGMSTAR_BF", "MAG_G", "MAG_R", "MAG_Z"}
    assert "SCHLEGEL_COLOR" not in store.columns


def test_what_the_recipe_says_stands_before_the_preset(tmp_path, prepare, objects):
    votes(tmp_path / "gz.csv", *objects)
    store = joined(tmp_path, prepare, path=str(tmp_path / "gz.csv"), preset="gz_decals", columns=["elpetro_absmag_r"])

    assert [name for name in store.columns if "elpetro" in name or "smooth" in name] == ["elpetro_absmag_r"]
