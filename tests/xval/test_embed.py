"""`polycli embed xval`: vectors of records and of numbers, with the ids and key paths that they belong to."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import zarr

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import UserError
from polycli.json_records import to_object
from polycli.requests import EmbedRequest, SearchRequest
from polycli.search.find import run as search
from polycli.xval import embed
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.structure import NUM


@pytest.fixture
def model(tmp_path, planets):
    section = ModelSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=256, dropout=0.0)
    tokenization = tokenization_for(section, None, [open_records(planets)])
    torch.manual_seed(0)
    network = Numformer(section, tokenization.tokens).eval()
    description = ModelDescription(
        family="xval",
        verb="pretrain",
        version="0",
        step=7,
        model=section.model_dump(mode="json"),
        **to_object(describe_tokenization(tokenization)),
    )
    (tmp_path / "model").mkdir()
    write_model(tmp_path / "model", network.state_dict(), description)
    return network


def run(tmp_path, data, output, *overrides, **options):
    checkpoint = tmp_path / "model"
    request = EmbedRequest(
        checkpoint=checkpoint, data=(data,), output=tmp_path / output, overrides=overrides, json=True, **options
    )
    return embed.run(request)


def by_hand(model, record):
    """One record without padding: its tokens' vectors."""
    ids, numbers = record.token_ids.astype(np.int64), np.ones(len(record.token_ids), dtype=np.float32)
    numbers[ids == NUM] = record.numbers
    with torch.no_grad():
        return model.encode(torch.tensor(ids)[None], torch.tensor(numbers)[None])[0].numpy(), np.flatnonzero(ids == NUM)


def test_vectors_are_those_of_each_record_alone(tmp_path, model, planets):
    found = run(tmp_path, planets, "out.parquet", "batch_records=7", split="test")
    store = open_records(planets)
    rows = store.rows("test")
    records, numbers = pq.read_table(tmp_path / "out.parquet"), pq.read_table(tmp_path / "out.numbers.parquet")
    assert (found["records"], found["numbers"]) == (len(rows), numbers.num_rows)
    assert records["record_id"].to_pylist() == store.row_ids(rows)
    vectors = np.array(records["record_embedding"].to_pylist())
    of_record = np.array(numbers["record"].to_pylist())
    for place, row in enumerate(rows):
        record = store.read([row])
        tokens, slots = by_hand(model, record)
        np.testing.assert_allclose(vectors[place], tokens.mean(axis=0), atol=1e-5)
        mine = numbers.take(np.flatnonzero(of_record == place))
        assert mine["record_id"].to_pylist() == [record.ids[0]] * len(slots)
        assert mine["key_path"].to_pylist() == [record.key_paths[key] for key in record.number_keys]
        np.testing.assert_array_equal(mine["value"].to_numpy(), record.numbers)
        np.testing.assert_allclose(np.array(mine["number_embedding"].to_pylist()), tokens[slots], atol=1e-5)
    manifest = json.loads(records.schema.metadata[b"polycli"])
    assert manifest["provenance"]["model_hash"] == found["model_hash"]
    assert manifest["store_hash"] == {store.name: store.store.manifest.store_hash}
    assert (manifest["family"], manifest["tables"]["numbers"]["rows"]) == ("xval", numbers.num_rows)


def test_zarr_holds_the_same(tmp_path, model, planets):
    run(tmp_path, planets, "out.parquet", "keys=[description.planet*.a]", split="test")
    run(tmp_path, planets, "out.zarr", "keys=[description.planet*.a]", "batch_records=5", split="test")
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    records, numbers = pq.read_table(tmp_path / "out.parquet"), pq.read_table(tmp_path / "out.numbers.parquet")
    assert group["record_id"][:].tolist() == records["record_id"].to_pylist()
    np.testing.assert_allclose(
        group["record_embedding"][:], np.array(records["record_embedding"].to_pylist()), atol=1e-5
    )
    inside = group["numbers"]
    for name in ("record", "record_id", "key_path", "value"):
        assert inside[name][:].tolist() == numbers[name].to_pylist()
    np.testing.assert_allclose(
        inside["number_embedding"][:], np.array(numbers["number_embedding"].to_pylist()), atol=1e-5
    )
    paths = {"description.planet0.a", "description.planet1.a", "description.planet2.a"}
    assert set(inside["key_path"][:].tolist()) == paths


def test_two_processes_write_the_files_that_one_writes(tmp_path, model, planets):
    run(tmp_path, planets, "1/e.parquet", "batch_records=16")
    words = ["embed", "xval", "--checkpoint", str(tmp_path / "model"), "--data", str(planets), "--nproc", "2"]
    words += ["--output", str(tmp_path / "2" / "e.parquet"), "--set", "batch_records=16", "--json"]
    done = subprocess.run([sys.executable, "-m", "polycli", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 120
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "12")
    assert sorted(one) == ["e.numbers.parquet", "e.parquet"]
    assert one == two


def test_records_alone_are_enough_and_files_are_not_replaced(tmp_path, model, planets):
    run(tmp_path, planets, "out.parquet", "numbers=false", split="test")
    assert not (tmp_path / "out.numbers.parquet").exists()
    with pytest.raises(UserError, match="exists already"):
        run(tmp_path, planets, "out.parquet")
    with pytest.raises(UserError, match="the suffix says the format"):
        run(tmp_path, planets, "out.npy")
    run(tmp_path, planets, "out", split="test")
    assert pq.read_table(tmp_path / "out")["record_id"] == pq.read_table(tmp_path / "out.parquet")["record_id"]
    assert set(pq.read_table(tmp_path / "out" / "_numbers")["record"].to_pylist()) == set(range(10))


def test_files_of_json_are_embedded_by_the_command(tmp_path, model, capsys):
    (tmp_path / "in.jsonl").write_text('{"description": {"stepsize": 0.5}, "data": [[1.0, null]]}\n{"data": []}\n')
    line = ["embed", "xval", "--checkpoint", str(tmp_path / "model"), "--data", str(tmp_path / "in.jsonl")]
    assert command_line([*line, "--output", str(tmp_path / "out.parquet")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.parquet'}\n"
    assert pq.read_table(tmp_path / "out.parquet")["record_id"].to_pylist() == ["in.jsonl:1", "in.jsonl:2"]
    assert pq.read_table(tmp_path / "out.numbers.parquet")["value"].to_pylist() == [0.5, 1.0]


def test_a_record_in_a_file_finds_its_like_by_search(tmp_path, model):
    lines = [f'{{"description": {{"stepsize": {step}}}, "data": [[1.0, {step}]]}}' for step in (0.1, 0.5, 2.0)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    run(tmp_path, tmp_path / "in.jsonl", "e.parquet")
    (tmp_path / "query.jsonl").write_text(lines[1] + "\n")
    wanted = SearchRequest(
        embeddings=tmp_path / "e.parquet", file=tmp_path / "query.jsonl", checkpoint=tmp_path / "model", json=True
    )
    found = search(wanted)["neighbours"]
    assert found[0]["id"] == "in.jsonl:2"
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert found[1]["similarity"] < found[0]["similarity"]
