"""Classes filled in from the token head: whole sequences of tokens, of any length, with honest probabilities."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from polycli.checkpoints.exported import read_description
from polycli.requests import EvalRequest, PredictRequest, TrainRequest
from polycli.xval import eval as evaluation
from polycli.xval import open_records, predict, pretrain
from polycli.xval.records.classes import Column
from polycli.xval.records.decode import decode_records
from polycli.xval.records.structure import MASK_CHAR, QUOTE, spelled

from .conftest import PRETRAIN, prepare

#: One is the beginning of another, and their lengths tell them apart.
ANIMALS = ("ant", "antelope", "bee")
NOISE = 0.25
STEPS = 300


def animal_of(x, generator):
    """The class that a number determines, but for a quarter of the rows, where it is any."""
    return ANIMALS[generator.integers(3) if generator.random() < NOISE else int(3 * x)]


def table(rows, seed):
    generator = np.random.default_rng(seed)
    found = []
    for number in range(rows):
        x = generator.random()
        found.append(
            {
                "name": f"row {number}",
                "x": f"{x:.4f}",
                "animal": animal_of(x, generator),
                "y": f"{generator.normal():.3f}",
                "large": "yes" if x > 0.5 else "no",
            }
        )
    return found


def write(path, rows, **blank):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([{**row, **blank} for row in rows])
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small model of a table whose classes are determined by a number."""
    folder = tmp_path_factory.mktemp("animals")
    store = prepare(
        "table", folder / "animals.zarr", "table.id_column=name", inputs=[write(folder / "a.csv", table(1500, 0))]
    )
    (folder / "tiny.yaml").write_text(PRETRAIN)
    settings = [
        *("model.embed_dim=32", "model.feed_forward=64", "optim.learning_rate=4.0e-3", "schedule.name=cosine"),
        *("schedule.warmup_steps=20", "train.global_batch_size=32", "train.micro_batch_size=32"),
        *(f"train.{key}={STEPS}" for key in ("steps", "validate_every", "checkpoint_every")),
    ]
    settings += ["model.cells=true", "objective.hide=values", "optim.betas=[0.9, 0.95]", "optim.clip_norm=1.0"]
    recipe, output = str(folder / "tiny.yaml"), folder / "run"
    train = TrainRequest(recipe=recipe, data=(store,), output=output, overrides=tuple(settings), json=True)
    pretrain.run(train)
    return folder / "run"


def predicted(checkpoint, data, output, *overrides):
    predict.run(PredictRequest(checkpoint=checkpoint, data=(data,), output=output, overrides=overrides, json=True))
    return output


def test_a_class_that_a_number_determines_is_found_and_its_probabilities_are_those_of_the_noise(tmp_path, checkpoint):
    rows = table(600, 1)
    out = predicted(checkpoint, write(tmp_path / "in.csv", rows, animal="", large=""), tmp_path / "out.csv")
    with out.open() as file:
        answers = list(csv.DictReader(file))
    right = np.array([answer["animal"] == row["animal"] for answer, row in zip(answers, rows, strict=True)])
    majority = max(Counter(row["animal"] for row in rows).values()) / len(rows)
    assert majority < 0.4
    assert right.mean() > 0.65  # 0.83 would be found by one who knows the rule
    chances = np.array([[float(answer[f"animal_probability_{name}"]) for name in ANIMALS] for answer in answers])
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-9)
    best = np.array([float(answer["animal_probability"]) for answer in answers])
    np.testing.assert_array_equal(best, chances.max(axis=1))
    assert best.mean() == pytest.approx(right.mean(), abs=0.12)
    # A class is as often right as its probability says, also among those that are not the likeliest.
    truth = np.array([[row["animal"] == name for name in ANIMALS] for row in rows])
    for low, high in ((0.0, 0.2), (0.5, 0.9)):
        chosen = (chances >= low) & (chances < high)
        if chosen.sum() > 100:
            assert truth[chosen].mean() == pytest.approx(chances[chosen].mean(), abs=0.12)
    large = np.mean([answer["large"] == row["large"] for answer, row in zip(answers, rows, strict=True)])
    assert large > 0.9
    assert {answer["_filled"] for answer in answers} == {"animal;large"}


def test_classes_and_numbers_are_filled_in_together_and_come_back_where_they_belong(tmp_path, checkpoint):
    lines = [
        {"x": 0.05, "animal": None, "y": None, "large": "no"},
        {"large": None, "y": 0.5, "animal": ["bee", None], "x": None},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = predicted(checkpoint, tmp_path / "in.jsonl", tmp_path / "out.jsonl", "source=json")
    one, two = (json.loads(line) for line in out.read_text().splitlines())
    assert one["animal"] in ANIMALS
    assert isinstance(one["y"], float)
    said = one["_filled"]["/animal"]
    assert set(said["probabilities"]) == set(ANIMALS)
    assert said["probability"] == max(said["probabilities"].values())
    # A null in a list is no class; the others are answered for as themselves.
    assert two["animal"] == ["bee", None]
    assert two["large"] in ("yes", "no")
    assert set(two["_filled"]) == {"/large", "/x"}
    only = predicted(checkpoint, tmp_path / "in.jsonl", tmp_path / "only.jsonl", "source=json", "keys=[large]")
    assert [list(json.loads(line)["_filled"]) for line in only.read_text().splitlines()] == [[], ["/large"]]


def test_candidates_are_the_values_of_the_training_and_names_are_none(checkpoint):
    description = read_description(next((checkpoint / "checkpoints").iterdir()) / "model.json")
    assert {path: set(values) for path, values in description.model_extra["classes"].items()} == {
        "animal": set(ANIMALS),
        "large": {"yes", "no"},
    }


def test_eval_scores_classes_as_predict_fills_them_in(tmp_path, checkpoint):
    store = checkpoint.parent / "animals.zarr"
    request = EvalRequest(checkpoint=checkpoint, data=(store,), output=tmp_path / "report", overrides=(), json=True)
    entry = evaluation.run(request)["datasets"]["animals"]["classes"]["animal"]
    records = open_records(store)
    rows = [
        {"name": name, **{key: str(item) for key, item in value.items()}}
        for name, value in zip(
            records.row_ids(records.rows("test")),
            decode_records(records.read(records.rows("test")), records.vocabulary),
            strict=True,
        )
    ]
    out = predicted(checkpoint, write(tmp_path / "in.csv", rows, animal=""), tmp_path / "out.csv")
    with out.open() as file:
        answers = list(csv.DictReader(file))
    right = [answer["animal"] == row["animal"] for answer, row in zip(answers, rows, strict=True)]
    losses = [
        -np.log(float(answer[f"animal_probability_{row['animal']}"])) for answer, row in zip(answers, rows, strict=True)
    ]
    assert entry["records"] == len(rows)
    assert entry["unknown"] == 0
    assert entry["accuracy"]["model"] == pytest.approx(np.mean(right), abs=1e-12)
    assert entry["log_loss"]["model"] == pytest.approx(np.mean(losses), abs=1e-6)
    training = records.read(records.rows("train"))
    counts = Counter(value["animal"] for value in decode_records(training, records.vocabulary))
    shares = {name: (counts[name] + 1) / (counts.total() + 3) for name in ANIMALS}
    common = max(shares, key=shares.get)
    assert entry["accuracy"]["most frequent"] == pytest.approx(np.mean([row["animal"] == common for row in rows]))
    expected = np.mean([-np.log(shares[row["animal"]]) for row in rows])
    assert entry["log_loss"]["most frequent"] == pytest.approx(expected, abs=1e-12)
    assert entry["log_loss"]["gradient boosting"] < expected
    low, high = entry["accuracy"]["interval"]
    assert low <= entry["accuracy"]["model"] <= high
    assert "classes, accuracy and log loss" in (tmp_path / "report" / "report.html").read_text()


def test_forks_are_where_candidates_part():
    column = Column("animal", ANIMALS)
    assert column.blank == QUOTE + MASK_CHAR + QUOTE
    assert [(fork.prefix, set(fork.branches)) for fork in column.forks] == [
        (QUOTE, {spelled("a"), spelled("b")}),
        (QUOTE + spelled("ant"), {QUOTE, spelled("e")}),
    ]
    assert column.forks_of(QUOTE + spelled("ant") + QUOTE) == [1, 4]
    assert column.forks_of(QUOTE + spelled("bee") + QUOTE) == [1]
    assert column.forks_of(QUOTE + spelled("cat") + QUOTE) == []
    assert Column("flag", (True, False)).blank == MASK_CHAR
    assert Column("mixed", ("class A", "class B")).blank == QUOTE + spelled("class ") + MASK_CHAR + QUOTE
