"""Votes of Galaxy Zoo DECaLS through the command line: from a released table to a head, its scores and a catalogue."""

import csv
import json

import numpy as np
import pytest
from astropy.io import fits
from pyarrow import parquet

from polycli.__main__ import run as command_line
from polycli.astroclip import load_model, open_objects
from polycli.astroclip.recipe.trees import GALAXY_ZOO_DECALS, TREES
from polycli.astroclip.recipe.votes import VotesSection

RECIPE = """
family: astroclip
verb: finetune
model: {properties: {modalities: [image], votes: {tree: gz_decals}, hidden: [8], dropout: 0.0}}
data: {validation_objects: 8, workers: 0}
optim: {learning_rate: 3.0e-2, weight_decay: 0.0}
schedule: {name: constant}
train: {steps: 60, global_batch_size: 16, micro_batch_size: 16, validate_every: 30, checkpoint_every: 60}
calibrate: never
"""
OBJECTS = 60


def polycli(*words):
    return command_line([str(word) for word in words])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory, survey_files):
    """Cutouts, and votes of 50 of them as released: disks are bright, some cells are empty, some questions unasked."""
    folder = tmp_path_factory.mktemp("zoo")
    generator = np.random.default_rng(0)
    bright = np.arange(OBJECTS) % 3 == 0
    images = generator.standard_normal((OBJECTS, 3, 48, 48)).astype(np.float32)
    images += np.where(bright, 6.0, 0.0)[:, None, None, None].astype(np.float32)
    survey_files.legacysurvey(folder / "images.h5", count=OBJECTS, images=images)
    with (folder / "gz.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["iauname", "ra", "dec"]
        for question, answers in GALAXY_ZOO_DECALS.items():
            header.append(f"{question}_total-votes")
            for answer in answers:
                header += [f"{question}_{answer}", f"{question}_{answer}_fraction"]
        writer.writerow(header)
        for number in range(50):
            cells = [f"J{number:04d}", f"{10 + 0.01 * number:.6f}", "5.000000"]
            for question, answers in GALAXY_ZOO_DECALS.items():
                asked = 40 if question == "smooth-or-featured" else int(generator.integers(0, 12))
                shares = np.full(len(answers), 1 / len(answers))
                if question == "smooth-or-featured":
                    shares = np.array([0.1, 0.85, 0.05] if bright[number] else [0.85, 0.1, 0.05])
                counts = generator.multinomial(asked, shares)
                cells.append("" if asked == 0 else f"{asked}.0")
                for count in counts:
                    # As pandas writes what it joins: empty where nobody was asked, and floats elsewhere.
                    cells += ["", ""] if asked == 0 else [f"{count}.0", f"{count / asked:.6f}"]
            writer.writerow(cells)
    recipe = folder / "prepare.yaml"
    recipe.write_text(
        "family: astroclip\nverb: prepare\nsplit: {validation: 0.15, test: 0.3}\n"
        f"catalogues: [{{path: {folder / 'gz.csv'}, preset: gz_decals}}]\n"
    )
    (folder / "votes.yaml").write_text(RECIPE)
    given = ("--input", folder / "images.h5", "--recipe", recipe, "--workers", 1)
    assert polycli("prepare", "astroclip", "--source", "legacysurvey", "--output", folder / "zoo.zarr", *given) == 0
    return folder


@pytest.fixture(scope="module")
def tuned(zoo, image_model):
    given = ("--checkpoint", image_model, "--data", zoo / "zoo.zarr", "--output", zoo / "run")
    assert polycli("finetune", "astroclip", "--recipe", zoo / "votes.yaml", *given) == 0
    return zoo / "run"


def test_what_is_scored_can_be_counted_from_the_catalogue_that_predict_writes(zoo, tuned, capsys):
    given = ("--checkpoint", tuned, "--data", zoo / "zoo.zarr")
    settings = ("report=false", "properties=[redshift]", "neighbours=8", "audit.run=false", "bootstrap_samples=100")
    fast = [word for setting in settings for word in ("--set", setting)]
    assert polycli("eval", "astroclip", *given, "--output", zoo / "scores", *fast) == 0
    for name in ("out.parquet", "out.fits"):
        assert polycli("predict", "astroclip", *given, "--split", "test", "--output", zoo / name) == 0

    scores = json.loads((zoo / "scores" / "scores.json").read_text())["datasets"]
    (dataset,) = scores.values()
    assert len(dataset["morphology"]["votes"]) == 10
    question = dataset["morphology"]["votes"]["smooth-or-featured"]
    store, table = open_objects(zoo / "zoo.zarr"), parquet.read_table(zoo / "out.parquet")
    answers = GALAXY_ZOO_DECALS["smooth-or-featured"]
    rows = {name: row for row, name in enumerate(store.ids().tolist())}
    mine = [rows[name] for name in table["object_id"].to_pylist()]
    votes = np.stack([np.nan_to_num(store.target(f"smooth-or-featured_{name}", mine)) for name in answers], axis=1)
    enough = votes.sum(axis=1) > 34
    said = np.array(table["smooth-or-featured"].to_pylist())[enough]
    right = said == np.array(answers)[votes[enough].argmax(axis=1)]

    assert question["objects"] == enough.sum() < len(mine)
    assert question["by"]["head"]["majority"]["accuracy"] == pytest.approx(right.mean())
    assert right.mean() > 0.8
    fractions = np.stack([table[f"smooth-or-featured_{name}_fraction"].to_numpy() for name in answers], axis=1)
    error = np.abs(fractions[enough] - votes[enough] / votes[enough].sum(axis=1, keepdims=True)).mean()
    assert question["by"]["head"]["fraction_error"] == pytest.approx(error, rel=1e-5)
    np.testing.assert_allclose(fractions.sum(axis=1), 1)
    with fits.open(zoo / "out.fits") as file:
        assert np.array_equal(file[1].data["smooth-or-featured_smooth_fraction"], fractions[:, 0])
        assert set(file[1].data["leaf"]) == set(table["leaf"].to_pylist())
    for column in VotesSection(tree="gz_decals").columns:
        low, middle, high = (table[f"{column}_fraction{end}"].to_numpy() for end in ("_low90", "", "_high90"))
        assert (low < middle).all()
        assert (middle < high).all()


def test_a_leaf_is_where_the_likeliest_answers_lead(zoo, tuned):
    output = zoo / "leaves.parquet"
    assert polycli("predict", "astroclip", "--checkpoint", tuned, "--data", zoo / "zoo.zarr", "--output", output) == 0

    for row in parquet.read_table(output).to_pylist():
        steps = row["leaf"].split(", ")
        assert steps[0] == f"smooth-or-featured_{row['smooth-or-featured']}"
        assert ("how-rounded" in row["leaf"]) == (row["smooth-or-featured"] == "smooth")
        winding = row["smooth-or-featured"] == "featured-or-disk" and row["disk-edge-on"] == "no"
        assert ("spiral-winding" in row["leaf"]) == (winding and row["has-spiral-arms"] == "yes")
        asked = row["smooth-or-featured_featured-or-disk_fraction"] * row["disk-edge-on_no_fraction"]
        assert row["bar_asked"] == pytest.approx(asked)
        galaxies = 1 - row["smooth-or-featured_artifact_fraction"]
        assert row["merging_asked"] == pytest.approx(galaxies)


def test_an_absent_column_of_votes_is_named_with_the_nearest_before_anything_is_done(zoo, image_model, capsys):
    own = "{a: {answers: [smooth-or-featured_smoth, smooth-or-featured_artifact]}}"
    given = (
        *("--recipe", zoo / "votes.yaml", "--checkpoint", image_model, "--data", zoo / "zoo.zarr"),
        *("--set", "model.properties.votes.tree=null", "--set", f"model.properties.votes.questions={own}"),
    )
    for more in (("--dry-run",), ()):
        assert polycli("finetune", "astroclip", *given, "--output", zoo / "none", *more) == 2
        said = capsys.readouterr().err
        assert "zoo.zarr: has no column smooth-or-featured_smoth, the votes for an answer to a" in said
        assert "did you mean smooth-or-featured_smooth" in said
        assert not (zoo / "none").exists()


def test_answers_are_classes_to_be_found_for_a_model_that_has_learnt_no_votes(zoo, image_model, capsys):
    given = ("--checkpoint", image_model, "--data", zoo / "zoo.zarr", "--output", zoo / "found")
    quick = ("report=false", "audit.run=false", "properties=[redshift]", "bootstrap_samples=100")
    asked = [word for setting in (*quick, "morphology.votes.tree=gz_decals") for word in ("--set", setting)]
    assert polycli("eval", "astroclip", *given, *asked) == 0

    (dataset,) = json.loads((zoo / "found" / "scores.json").read_text())["datasets"].values()
    assert "votes" not in dataset["morphology"]
    found = dataset["morphology"]["by_class"]["smooth-or-featured"]
    assert found["candidates"] == sum(found["members"].values())
    ranking = found["rankings"]["image"]["smooth"]
    assert ranking["queries"] == ranking["members"] == found["members"]["smooth"]
    # Bright ones and others are told apart by any encoder.
    assert ranking["ndcg_at_10"] > ranking["chance"]

    given = ("--checkpoint", image_model, "--data", zoo / "zoo.zarr", "--output", zoo / "absent")
    assert polycli("eval", "astroclip", *given, "--set", "morphology.votes.tree=mock") == 2
    assert "has no column shape_smooth, the votes for an answer to shape" in capsys.readouterr().err


def test_fractions_in_place_of_counts_are_refused(zoo, image_model, tmp_path, prepare, capsys):
    recipe = tmp_path / "fractions.yaml"
    columns = [f"bar_{answer}_fraction" for answer in GALAXY_ZOO_DECALS["bar"]]
    recipe.write_text(
        "family: astroclip\nverb: prepare\n"
        f"catalogues: [{{path: {zoo / 'gz.csv'}, by: sky, columns: [{', '.join(columns)}]}}]\n"
    )
    prepare("legacysurvey", tmp_path / "f.zarr", inputs=[zoo / "images.h5"], recipe=str(recipe))
    own = f"{{bar: {{answers: [{', '.join(columns)}]}}}}"
    given = (
        *("--recipe", zoo / "votes.yaml", "--checkpoint", image_model, "--data", tmp_path / "f.zarr"),
        *("--set", "model.properties.votes.tree=null", "--set", f"model.properties.votes.questions={own}"),
    )

    assert polycli("finetune", "astroclip", *given, "--output", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert "column bar_" in said
    assert "a whole number of votes was expected" in said


def test_a_model_is_read_after_its_tree_has_changed(tuned, monkeypatch):
    before = load_model(tuned).properties.section.votes
    less = {name: asked for name, asked in TREES["gz_decals"].items() if name != "merging"}
    monkeypatch.setitem(TREES, "gz_decals", less)

    assert load_model(tuned).properties.section.votes == before
    assert "merging" in before.questions
    assert "merging" not in VotesSection(tree="gz_decals").questions
