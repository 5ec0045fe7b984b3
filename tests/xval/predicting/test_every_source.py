"""The same records in any file that holds them, with their keys in another order, get the same answers."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.table import Table

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.json_records import to_object
from polycli.requests import PredictRequest
from polycli.xval import predict
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from tests.xval.conftest import prepare

KEYS = ("mass", "radius", "batch", "logP")
SIZES = {"embed_dim": 16, "num_heads": 2, "blocks": 1, "feed_forward": 32, "context": 64, "dropout": 0.0}


def records(gaps=False):
    """Twenty-four records; `gaps` leaves logP out of every other one."""
    draw = np.random.default_rng(3)
    for number in range(24):
        mass = round(float(draw.uniform(50, 400)), 2)
        log_p = None if gaps and number % 2 else round(mass / 100 - 1, 2)
        yield {"mass": mass, "radius": round(mass**0.5, 2), "batch": "ABC"[number % 3], "logP": log_p}


def as_csv(rows, delimiter=",", decimal="."):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(rows[0])
    for row in rows:
        cells = ("" if cell is None else str(cell) for cell in row.values())
        writer.writerow([cell.replace(".", decimal) for cell in cells])
    return file.getvalue()


def as_ecsv(path, rows):
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    empty = {key: [cell is None for cell in cells] for key, cells in columns.items()}
    given = {key: ["" if cell is None and key == "batch" else cell or 0.0 for cell in columns[key]] for key in columns}
    table = Table(
        {key: np.ma.array(given[key], mask=empty[key]) if any(empty[key]) else given[key] for key in columns},
        masked=True,
    )
    table.write(path, format="ascii.ecsv")


FORMS = {
    "plain.csv": lambda path, rows: path.write_text(as_csv(rows)),
    "packed.csv.gz": lambda path, rows: path.write_bytes(gzip.compress(as_csv(rows).encode())),
    "marked.csv": lambda path, rows: path.write_bytes(b"\xef\xbb\xbf" + as_csv(rows).encode()),
    "wide.csv": lambda path, rows: path.write_bytes(as_csv(rows).encode("utf-16")),
    "comma.csv": lambda path, rows: path.write_text(as_csv(rows, ";", ",")),
    "tabs.tsv": lambda path, rows: path.write_text(as_csv(rows, "\t")),
    "rows.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "rows.ecsv": as_ecsv,
    "lines.jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "array.json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "literals.txt": lambda path, rows: path.write_text("".join(f"{row!r}\n" for row in rows)),
}
#: A file of each source that a model is trained from.
TRAINED = {
    "plain.csv": "table",
    "rows.parquet": "table",
    "rows.ecsv": "table",
    "lines.jsonl": "json",
    "array.json": "json",
    "literals.txt": "python-lines",
}


def write(folder: Path, name: str, *, order=KEYS, gaps=True) -> Path:
    folder.mkdir(exist_ok=True)
    FORMS[name](folder / name, [{key: row[key] for key in order} for row in records(gaps)])
    return folder / name


def model_of(folder: Path, name: str) -> Path:
    store = prepare(TRAINED[name], folder / "samples.zarr", inputs=[write(folder / "all", name, gaps=False)])
    section = ModelSection(**{**SIZES, "quantiles": (0.1, 0.5, 0.9)})
    tokenization = tokenization_for(section, None, [open_records(store)])
    torch.manual_seed(0)
    about = {"family": "xval", "verb": "pretrain", "version": "0", "step": 1, "model": section.model_dump(mode="json")}
    described = ModelDescription(**about, **to_object(describe_tokenization(tokenization)))
    write_model(folder, Numformer(section, tokenization.tokens).state_dict(), described)
    return folder / "model.safetensors"


def answered(checkpoint: Path, data: Path, source: str | None = None) -> list[tuple[float, list[float]]]:
    """Answers and bounds, in the order of the records, after a look at what was given, which must come back."""
    output = data.with_name(f"answers of {data.name}.jsonl")
    overrides = ("digits=full", *(() if source is None else (f"source={source}",)))
    predict.run(PredictRequest(checkpoint=checkpoint, data=(data,), output=output, overrides=overrides, json=True))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    for line, row in zip(lines, records(gaps=True), strict=True):
        assert {key: line[key] for key in KEYS if row[key] is not None} == {
            k: v for k, v in row.items() if v is not None
        }
        assert list(line["_filled"]) == ([] if row["logP"] is not None else ["/logP"])
    return [(line["logP"], line["_filled"]["/logP"]["interval"]) for line in lines if line["_filled"]]


@pytest.mark.parametrize("trained", TRAINED)
def test_answers_are_those_of_the_training_s_own_file_in_every_other_form_and_order(tmp_path, trained):
    checkpoint = model_of(tmp_path, trained)
    expected = answered(checkpoint, write(tmp_path / "same", trained))
    assert len(expected) == 12
    assert len({value for value, _ in expected}) == 12
    # All forms where it was a CSV; else its own, turned round, and a CSV of another dialect.
    others = FORMS if trained == "plain.csv" else {trained, "comma.csv"}
    for name in others:
        # A `.txt` may be a table, and is one to a model of tables unless it is told.
        source = "python-lines" if name == "literals.txt" else None
        got = answered(checkpoint, write(tmp_path / "other", name, order=KEYS[::-1]), source)
        for (value, bounds), (own, own_bounds) in zip(got, expected, strict=True):
            assert value == pytest.approx(own, rel=1e-5), name
            assert bounds == pytest.approx(own_bounds, rel=1e-5), name
