"""`polycli eval xval` on tiny stores and tiny models, against numpy written out here."""

import json

import numpy as np
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import CheckpointError, RecipeError, SourceError, StoreError
from polycli.json_records import to_object
from polycli.requests import EvalRequest
from polycli.store.overlap import pack_hashes
from polycli.xval import eval as evaluation
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.structure import MASK, NUM
from tests.earlier import as_schema_1

QUICK = ("bootstrap_samples=50", "report=false")
SIZES = {"embed_dim": 16, "num_heads": 2, "blocks": 1, "feed_forward": 32, "context": 256, "dropout": 0.0}


def save_model(folder, store, trained=(), **section):
    """A model that was never trained, and says that it was on some rows of the store."""
    folder.mkdir(parents=True, exist_ok=True)
    section = ModelSection(**{**SIZES, **section})
    opened = open_records(store)
    tokenization = tokenization_for(section, None, [opened])
    torch.manual_seed(0)
    model = Numformer(section, tokenization.tokens).eval()
    rows = np.array(trained, dtype=np.int64)
    trained_on = {opened.name: {"store_hash": "0", "rows": pack_hashes(opened.row_hashes()[rows])}} if len(rows) else {}
    description = ModelDescription(
        family="xval",
        verb="pretrain",
        version="0",
        step=7,
        model=section.model_dump(mode="json"),
        trained_on=trained_on,
        objective={"mask_probability": 0.4},
        **to_object(describe_tokenization(tokenization)),
    )
    write_model(folder, model.state_dict(), description)
    return model, tokenization


@pytest.fixture(scope="session")
def flat(records_store):
    """Records that are rows of a table: b is twice a, and a in [1, 1.2] is held out."""
    generator = np.random.default_rng(0)
    values = [
        {"a": float(a), "b": float(2 * a), "c": None if place % 7 == 0 else float(c)}
        for place, (a, c) in enumerate(zip(generator.uniform(-2, 2, 300), generator.normal(size=300), strict=True))
    ]
    return records_store(values, "flat", "hold_out={a: [1.0, 1.2]}", "scaling.default=affine")


def evaluate(tmp_path, store, overrides=(), output="out", **options):
    request = EvalRequest(
        checkpoint=tmp_path / "model" / "model.safetensors",
        data=(store,),
        output=tmp_path / output,
        overrides=(*QUICK, *overrides),
        json=True,
        **options,
    )
    return evaluation.run(request)


def test_scores_are_those_of_one_forward_pass_for_each_number(tmp_path, flat):
    model, tokenization = save_model(tmp_path / "model", flat)
    scores = evaluate(tmp_path, flat, ["masking=single"])
    store = open_records(flat)
    errors = {path: [] for path in store.key_paths}
    for row in store.rows("test"):
        record = store.read([row])
        slots = np.flatnonzero(record.token_ids == NUM)
        scaled = tokenization.scaling.apply(record.numbers, record.number_keys, record.key_paths)
        for number, slot in enumerate(slots):
            ids, numbers = record.token_ids.astype(np.int64).copy(), np.ones(len(record.token_ids), dtype=np.float32)
            numbers[slots] = scaled
            ids[slot], numbers[slot] = MASK, 1
            with torch.no_grad():
                found = model.outputs(torch.tensor(ids)[None], torch.tensor(numbers)[None]).numbers[0, slot]
            key = record.number_keys[number : number + 1]
            value = tokenization.scaling.invert(np.array([float(found)]), key, record.key_paths)[0]
            errors[record.key_paths[key[0]]].append(abs(value - record.numbers[number]))
    found = scores["datasets"]["flat"]
    assert set(found["keys"]) == {"a", "b", "c"}
    for path, values in errors.items():
        assert found["keys"][path]["numbers"] == len(values)
        assert found["keys"][path]["mae"]["model"] == pytest.approx(np.mean(values), rel=1e-4)


def test_baselines_stand_beside_the_model_and_their_win_is_said(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    found = evaluate(tmp_path, flat)["datasets"]["flat"]
    store = open_records(flat)
    rows = store.rows("test")
    records = store.read(rows)
    of_a = records.numbers[records.number_keys == store.key_paths.index("a")]
    assert found["keys"]["a"]["mae"]["key mean"] == pytest.approx(np.abs(of_a - store.statistics["a"].mean).mean())
    assert {"k-NN", "gradient boosting"} < set(found["keys"]["a"]["mae"])
    assert found["keys"]["a"]["mae"]["k-NN"] < found["keys"]["a"]["mae"]["key mean"]
    assert {"a", "b"} <= {entry["key"] for entry in found["better_baselines"]}
    assert found["hidden_share"] == 0.4  # As the checkpoint says.


def test_numbers_of_a_group_are_hidden_together(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    alone = evaluate(tmp_path, flat, ["masking=single"])["datasets"]["flat"]["keys"]
    together = evaluate(tmp_path, flat, ["masking=single", "groups=[[a, b]]"], output="two")["datasets"]["flat"]["keys"]
    # Without b, nothing tells a: k-NN is no better than the mean.
    assert alone["a"]["mae"]["k-NN"] < 0.3 * alone["a"]["mae"]["key mean"]
    assert together["a"]["mae"]["k-NN"] > 0.7 * together["a"]["mae"]["key mean"]
    assert together["c"]["mae"]["model"] == pytest.approx(alone["c"]["mae"]["model"])


def test_held_out_numbers_are_scored_apart(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    entry = evaluate(tmp_path, flat)["datasets"]["flat"]["hold_out"][0]
    store = open_records(flat)
    records = store.read(store.rows("test"))
    of_a = records.numbers[records.number_keys == store.key_paths.index("a")]
    inside = (of_a >= 1.0) & (of_a <= 1.2)
    assert (entry["inside"]["numbers"], entry["outside"]["numbers"]) == (inside.sum(), (~inside).sum())
    assert inside.sum() > 5


def test_records_that_were_trained_on_are_refused(tmp_path, flat):
    rows = open_records(flat).rows("test")
    save_model(tmp_path / "model", flat, trained=rows[:2])
    with pytest.raises(StoreError, match=r"trained on 2 of the \d+ records"):
        evaluate(tmp_path, flat)
    assert not (tmp_path / "out").exists()
    scores = evaluate(tmp_path, flat, allow_overlap=True)
    assert scores["overlap"] == {"checked": True, "records": 2, "allowed": True}


def test_keys_that_the_model_does_not_know_are_said_or_refused_and_data_of_none_that_it_knows_is(
    tmp_path, flat, records_store, capsys
):
    save_model(tmp_path / "model", flat)
    other = records_store([{"a": float(place), "zeta": 1.5 * place} for place in range(30)], "other")
    assert set(evaluate(tmp_path, other)["datasets"]["other"]["keys"]) == {"a"}
    assert "keys that the model has never seen, and does not look at: 'zeta'" in capsys.readouterr().err
    with pytest.raises(SourceError, match="zeta"):
        evaluate(tmp_path, other, ["unknown_keys=refuse"])
    strange = records_store([{"zeta": 1.5 * place} for place in range(30)], "strange")
    with pytest.raises(StoreError, match="the model knows no number at zeta"):
        evaluate(tmp_path, strange)


def test_groups_that_fit_nothing_are_refused(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    with pytest.raises(RecipeError, match="no key path of the data fits 'z'"):
        evaluate(tmp_path, flat, ["groups=[[z]]"])
    assert not (tmp_path / "out").exists()


def test_weights_know_what_their_tokens_mean_without_model_json(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    with_json = evaluate(tmp_path, flat)
    (tmp_path / "model" / "model.json").unlink()
    assert evaluate(tmp_path, flat)["datasets"] == with_json["datasets"]


def test_weights_of_an_earlier_version_without_their_description_are_refused(tmp_path, flat):
    save_model(tmp_path / "model", flat)
    as_schema_1(tmp_path / "model")
    evaluate(tmp_path, flat)
    (tmp_path / "model" / "model.json").unlink()
    with pytest.raises(CheckpointError, match=r"without the model.json"):
        evaluate(tmp_path, flat)


@pytest.mark.parametrize("encoding", ["multiscale", "fone", "bits", "p10", "fp15"])
def test_every_encoding_is_scored_on_the_same_numbers(tmp_path, planets, encoding):
    digits = {"exponents": (-4, 2)} if encoding == "fone" else {}
    save_model(tmp_path / "model", planets, encoding=encoding, context=512, **digits)
    found = evaluate(tmp_path, planets, ["max_records=6"])["datasets"]["planets"]
    save_model(tmp_path / "model", planets)
    plain = evaluate(tmp_path, planets, ["max_records=6"], output="plain")["datasets"]["planets"]
    assert {key: entry["numbers"] for key, entry in found["keys"].items()} == {
        key: entry["numbers"] for key, entry in plain["keys"].items()
    }
    for key, entry in found["keys"].items():
        assert entry["mae"]["key mean"] == plain["keys"][key]["mae"]["key mean"]
    if encoding in ("multiscale", "fone", "bits"):
        assert found["undecodable"] == 0
    if encoding == "p10":
        # Five tokens of an untrained model are hardly ever a number; such answers are scored as the mean.
        assert 0.5 < found["undecodable"] <= 1
    assert "persistence" in found["keys"]["data"]["mae"]


def test_the_command_leaves_scores_figures_and_a_report(tmp_path, planets, capsys):
    save_model(tmp_path / "model", planets, quantiles=[0.1, 0.5, 0.9])
    line = ["eval", "xval", "--checkpoint", str(tmp_path / "model"), "--data", str(planets), "--output"]
    line += [str(tmp_path / "out"), "--limit", "8", "--set", "bootstrap_samples=50"]
    line += ["--set", "sweep={vary: description.planet0.a, predict: [description.stepsize], points: 11, records: 2}"]
    assert command_line(line) == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["split"] == "test"
    assert scores["encoding"] == "xval"
    assert scores["datasets"]["planets"]["keys"]["description.planet*.m"]["coverage"]["nominal"] == pytest.approx(0.8)
    assert scores["datasets"]["planets"]["sweep"]["curves"][0]["jumps"] == 0
    names = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    assert {"planets.agreement.png", "planets.sweep.png"} <= names
    text = (tmp_path / "out" / "report.html").read_text()
    assert "description.planet*.a" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "mean absolute error by key" in capsys.readouterr().out


def test_numbers_of_a_key_that_no_training_record_has_are_scored_too(tmp_path, records_store):
    values = [{"a": float(n), **({"rare": 5.0 + n} if n >= 90 else {})} for n in range(100)]
    store = records_store(values, "rare", "hold_out={a: [90, 99]}")
    save_model(tmp_path / "model", store)
    scores = evaluate(tmp_path, store)["datasets"]["rare"]
    training = open_records(store).read(open_records(store).rows("train")).numbers
    assert scores["keys"]["rare"]["numbers"] == 10
    expected = np.abs(training.mean() - (5.0 + np.arange(90, 100))).mean()
    assert scores["keys"]["rare"]["mae"]["key mean"] == pytest.approx(expected)


def test_a_store_without_numbers_is_refused_by_a_sentence(tmp_path, planets, records_store):
    save_model(tmp_path / "model", planets)
    names = records_store([{"name": f"n{place}", "kind": "x" * (place % 5)} for place in range(60)], "names")
    with pytest.raises(StoreError, match=r"there is no number in the \d+ records of the split test"):
        evaluation.run(EvalRequest(checkpoint=tmp_path / "model", data=(names,), output=tmp_path / "out", json=True))
