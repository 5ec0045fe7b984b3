"""Files are read as the training's were: in any order of columns, with or without ids, in other dialects."""

import csv
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import SourceError
from polycli.json_records import to_object
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest
from polycli.xval import embed, predict
from polycli.xval import eval as evaluation
from polycli.xval.data.classes import classes_of
from polycli.xval.data.reading import Reading, reading_of
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.loaded import load_checkpoint
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.scoring.hidden_numbers import read_records
from tests.xval.conftest import prepare

NAMES = ("sample", "mass", "radius", "batch", "logP")
SIZES = {"embed_dim": 16, "num_heads": 2, "blocks": 1, "feed_forward": 32, "context": 64, "dropout": 0.0}


def rows(count):
    generator = np.random.default_rng(3)
    for number in range(count):
        mass = float(generator.uniform(50, 400))
        yield (f"S{number:03d}", f"{mass:.2f}", f"{mass**0.5:.2f}", "ABC"[number % 3], f"{mass / 100 - 1:.2f}")


def write(path, order=NAMES, blank="logP", delimiter=",", decimal="."):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(order)
        for number, row in enumerate(rows(24)):
            cells = dict(zip(NAMES, row, strict=True))
            if blank and number % 2:
                cells[blank] = ""
            writer.writerow([cells[name].replace(".", decimal) for name in order])
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    return prepare(
        "table",
        folder / "samples.zarr",
        "table.id_column=sample",
        "split.test=0.2",
        inputs=[write(folder / "samples.csv", blank=None)],
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, store):
    section = ModelSection(**{**SIZES, "quantiles": (0.1, 0.5, 0.9)})
    tokenization = tokenization_for(section, None, [open_records(store)])
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    description = ModelDescription(
        family="xval",
        verb="pretrain",
        version="0",
        step=1,
        model=section.model_dump(mode="json"),
        **to_object(describe_tokenization(tokenization)),
    )
    write_model(folder, Numformer(section, tokenization.tokens).state_dict(), description)
    return folder / "model.safetensors"


@pytest.fixture
def answers(tmp_path, checkpoint):
    def run(data, *overrides, output="out.jsonl"):
        predict.run(
            PredictRequest(
                checkpoint=checkpoint, data=(data,), output=tmp_path / output, overrides=overrides, json=True
            )
        )
        lines = [json.loads(line) for line in (tmp_path / output).read_text().splitlines()]
        (tmp_path / output).unlink()
        return lines

    return run


def filled(lines):
    return {n: line["_filled"]["/logP"]["value"] for n, line in enumerate(lines) if "/logP" in line["_filled"]}


def test_a_run_says_how_its_data_were_read(store):
    reading = reading_of([open_records(store)])
    assert (reading.source, reading.table.id_column) == ("table", "sample")
    assert reading.columns == {
        "sample": "text",
        "mass": "number",
        "radius": "number",
        "batch": "text",
        "logP": "number",
    }
    assert reading.key_order == {"$": ("mass", "radius", "batch", "logP")}
    assert Reading.model_validate_json(reading.model_dump_json()) == reading


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": ("logP", "batch", "sample", "radius", "mass")}, ""),
        ({"order": NAMES[1:]}, "there is no column 'sample', which named the rows of the training"),
        ({"delimiter": ";", "decimal": ","}, ""),
        ({"order": NAMES[:0:-1], "delimiter": "\t"}, "there is no column 'sample'"),
    ],
)
def test_other_orders_dialects_and_an_absent_id_give_equal_answers(tmp_path, answers, capsys, options, says):
    expected = filled(answers(write(tmp_path / "as_trained.csv")))
    assert len(expected) == 12
    lines = answers(write(tmp_path / "other.csv", **options))
    assert filled(lines) == pytest.approx(expected, rel=1e-5)
    assert says in capsys.readouterr().err
    # The columns come back in the order of the file.
    order = [name for name in options.get("order", NAMES) if name != "sample"]
    assert [key for key in lines[0] if not key.startswith("_")] == order


def test_rows_keep_the_names_of_the_id_column_that_the_training_had(tmp_path, answers):
    assert [line["_id"] for line in answers(write(tmp_path / "gaps.csv"))][:2] == ["S000", "S001"]


def test_columns_that_the_model_never_saw_are_said_and_change_nothing(tmp_path, answers, capsys):
    expected = filled(answers(write(tmp_path / "gaps.csv")))
    text = (tmp_path / "gaps.csv").read_text().splitlines()
    wider = [f"shelf,{text[0]}", *(f"{number * 17},{line}" for number, line in enumerate(text[1:]))]
    (tmp_path / "wider.csv").write_text("\n".join(wider) + "\n")
    assert filled(answers(tmp_path / "wider.csv")) == pytest.approx(expected, rel=1e-5)
    assert "keys that the model has never seen, and does not look at: 'shelf'" in capsys.readouterr().err


def test_a_number_column_that_cannot_be_read_as_numbers_is_refused_with_the_setting(tmp_path, answers):
    (tmp_path / "odd.csv").write_text('mass;radius;batch;logP\n"1,500";4.5;A;\n"2,500";5.5;B;\n')
    with pytest.raises(SourceError, match="column 'mass' is numbers in the data that the model learned from") as caught:
        answers(tmp_path / "odd.csv")
    assert "table.columns={mass: number}" in str(caught.value)


def test_numbers_that_became_text_are_said_unless_some_are_numbers_still(tmp_path, answers, capsys):
    """A file of `unknown` in place of each mass gave other answers, with no word."""
    header, rows = "mass;radius;batch;logP\n", ["unknown;4.5;A;\n", "unknown;5.5;B;\n"]
    (tmp_path / "text.csv").write_text(header + "".join(rows))
    answers(tmp_path / "text.csv")
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: 'mass' is text in all 2 records that have it, and the model learned numbers there" in said
    assert "'batch' is text" not in said
    (tmp_path / "mixed.csv").write_text(header + rows[0] + "3.5;5.5;B;\n")
    answers(tmp_path / "mixed.csv")
    assert "is text in all" not in capsys.readouterr().err


def test_what_is_set_otherwise_than_in_training_is_said(tmp_path, answers, capsys):
    answers(write(tmp_path / "gaps.csv"), "table.missing=[-]")
    assert "table.missing is ('-',) here" in capsys.readouterr().err


def test_vectors_of_reordered_columns_are_equal(tmp_path, checkpoint):
    vectors = []
    for name, order in (("a", NAMES), ("b", NAMES[::-1])):
        data = (write(tmp_path / f"{name}.csv", order=order, blank=None),)
        embed.run(EmbedRequest(checkpoint=checkpoint, data=data, output=tmp_path / f"{name}.parquet", json=True))
        vectors.append(pq.read_table(tmp_path / f"{name}.parquet"))
    one, two = (np.array(table.column("record_embedding").to_pylist()) for table in vectors)
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_tables_are_scaled_by_key_unless_told_otherwise(store):
    keys = open_records(store).about.coverage.keys
    assert {entry.scaler for entry in keys.values()} == {"affine"}
    assert sum(entry.saturated for entry in keys.values()) == 0


def test_eval_brings_records_into_the_trained_order_and_leaves_unknown_keys_out(tmp_path, checkpoint, capsys):
    """A store with its columns the other way round had other errors, one with a column more was refused."""
    stores = []
    for name, order, shelf in (("own", NAMES, False), ("other", NAMES[::-1], True)):
        path = write(tmp_path / f"{name}.csv", order=order, blank=None)
        if shelf:
            text = path.read_text().splitlines()
            lines = [f"{text[0]},shelf", *(f"{line},{17 * number}" for number, line in enumerate(text[1:]))]
            path.write_text("\n".join(lines) + "\n")
        stores.append(prepare("table", tmp_path / f"{name}.zarr", "table.id_column=sample", inputs=[path]))
    loaded = load_checkpoint(checkpoint)
    own, other = (read_records(store := open_records(path), store.rows(), loaded) for path in stores)
    order = [other.ids.index(name) for name in own.ids]
    assert other.select(order).token_ids.tolist() == own.token_ids.tolist()
    assert other.select(order).numbers.tolist() == own.numbers.tolist()
    assert other.select(order).number_keys.tolist() == own.number_keys.tolist()

    def evaluated(*overrides):
        quick = ("report=false", "baselines=false", *overrides)
        output = tmp_path / "eval"
        return EvalRequest(
            checkpoint=checkpoint, data=(stores[1],), split="train", output=output, overrides=quick, json=True
        )

    evaluation.run(evaluated())
    assert "other.zarr: keys that the model has never seen, and does not look at: 'shelf'" in capsys.readouterr().err
    with pytest.raises(SourceError, match="the model has never seen the keys 'shelf'"):
        evaluation.run(evaluated("unknown_keys=refuse"))


def test_unknown_keys_are_refused_where_that_is_asked_for_also_deep_in_later_records(tmp_path, checkpoint, answers):
    write(tmp_path / "gaps.csv")
    answers(tmp_path / "gaps.csv", "unknown_keys=refuse")
    (tmp_path / "late.jsonl").write_text('{"mass": 1.5, "logP": null}\n{"mass": 1.5, "logP": {"wave": 2}}\n')
    with pytest.raises(SourceError, match=r"late.jsonl:2: the model has never seen the key logP\.wave"):
        answers(tmp_path / "late.jsonl", "unknown_keys=refuse")
    assert not (tmp_path / "out.jsonl").exists()
    request = EmbedRequest(
        checkpoint=checkpoint,
        data=(tmp_path / "late.jsonl",),
        output=tmp_path / "vectors.parquet",
        overrides=("unknown_keys=refuse",),
        json=True,
    )
    with pytest.raises(SourceError, match="has never seen the key"):
        embed.run(request)


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A model of a table that has cells with `<` in the column mass, and a folder for files."""
    folder = tmp_path_factory.mktemp("limits")
    text = write(folder / "samples.csv", blank=None).read_text().splitlines()
    names, *body = [line.split(",") for line in text]
    for number, row in enumerate(body[::3]):
        row[1] = f"{'<>'[number % 2]}{row[1]}"
    (folder / "samples.csv").write_text("\n".join(",".join(row) for row in (names, *body)) + "\n")
    settings = ("table.id_column=sample", "table.limits=value")
    trained = prepare("table", folder / "samples.zarr", *settings, inputs=[folder / "samples.csv"])
    section = ModelSection(**{**SIZES, "quantiles": (0.1, 0.5, 0.9)})
    stores = [open_records(trained)]
    tokenization = replace(tokenization_for(section, None, stores), classes=classes_of(stores))
    assert "mass_limit" in tokenization.classes
    torch.manual_seed(0)
    described = to_object(describe_tokenization(tokenization))
    about = {"family": "xval", "verb": "pretrain", "version": "0", "step": 1, "model": section.model_dump(mode="json")}
    model = folder / "model"
    model.mkdir()
    write_model(model, Numformer(section, tokenization.tokens).state_dict(), ModelDescription(**about, **described))
    return folder, model / "model.safetensors"


ROW = "sample,mass,radius,batch,logP\nA1,120.5,10.97,A,\n"


def test_a_row_is_answered_alike_whether_or_not_another_row_of_its_file_has_a_limit(limited, tmp_path):
    """A file without a `<` lacked the key mass_limit, and its rows had other answers and intervals."""
    _, model = limited
    (tmp_path / "with.csv").write_text(f"{ROW}B2,<60,7.75,B,\n")
    (tmp_path / "without.csv").write_text(f"{ROW}B2,60,7.75,B,\n")
    table = pa.table({"sample": ["A1"], "mass": [120.5], "radius": [10.97], "batch": ["A"], "logP": [None]})
    pq.write_table(table.set_column(4, "logP", pa.array([None], pa.float64())), tmp_path / "typed.parquet")
    prepare("table", tmp_path / "own.zarr", "table.id_column=sample", inputs=[tmp_path / "without.csv"])
    found, vectors = {}, {}
    for name in ("with.csv", "without.csv", "typed.parquet", "own.zarr"):
        data, output = (tmp_path / name,), tmp_path / f"{name}.jsonl"
        full = ("digits=full",)
        predict.run(PredictRequest(checkpoint=model, data=data, output=output, overrides=full, json=True))
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        found[name] = next(line for line in lines if line["_id"] == "A1")
        target = tmp_path / f"{name}.vectors.parquet"
        embed.run(EmbedRequest(checkpoint=model, data=data, output=target, json=True))
        rows = pq.read_table(target).to_pylist()
        vectors[name] = next(row["record_embedding"] for row in rows if row["record_id"] == "A1")
    # No limit is a fact, and no gap to fill in, also where `<` and `>` both occur.
    assert found["with.csv"]["mass_limit"] is None
    assert list(found["with.csv"]["_filled"]) == ["/logP"]
    for name in ("without.csv", "typed.parquet", "own.zarr"):
        one, other = (found[each]["_filled"]["/logP"] for each in (name, "with.csv"))
        assert [one["value"], *one["interval"]] == pytest.approx([other["value"], *other["interval"]], rel=1e-4), name
        assert list(found[name]) == list(found["with.csv"]), name
        np.testing.assert_allclose(vectors[name], vectors["with.csv"], rtol=1e-5, atol=1e-6)
    loaded = load_checkpoint(model)
    store = open_records(tmp_path / "own.zarr")
    keys = loaded.tokenization.language.vocabulary.key_ids
    assert (read_records(store, store.rows(), loaded).token_ids == keys["mass_limit"]).sum() == 2
