"""`polycli predict xval`: the same records come back, with numbers where nulls were and everything else as it was."""

import csv
import json

import numpy as np
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import PolycliError, RecipeError, SourceError, StoreError, UserError
from polycli.json_records import to_object
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest
from polycli.xval import embed, predict
from polycli.xval import eval as evaluation
from polycli.xval.data.digits import Digits
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.predicting.files import Answer, Asked, fill_in
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.records.encode import encode_records
from polycli.xval.records.keypaths import KeyPatterns
from polycli.xval.records.values import FreeText, NumberLiteral, Record
from polycli.xval.scoring.fill import Answers, Filler
from polycli.xval.scoring.intervals import own_bounds
from polycli.xval.training.starting import extended, load_start

from .conftest import prepare

SIZES = {"embed_dim": 16, "num_heads": 2, "blocks": 1, "feed_forward": 32, "context": 64, "dropout": 0.0}


@pytest.fixture(scope="session")
def stars(records_store):
    generator = np.random.default_rng(0)
    values = [
        {"name": f"star {place}", "mass": float(mass), "radii": [float(mass) ** 0.8, 2.0], "year": 2000 + place}
        for place, mass in enumerate(generator.uniform(0.5, 2, 60))
    ]
    return records_store(values, "stars", "text_keys=[year]", "scaling.default=affine")


@pytest.fixture(scope="session")
def kilograms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    rows = "".join(f"{place + 0.5},{place * 2 + 0.5}\n" for place in range(30))
    (folder / "kilograms.csv").write_text(f"mass (kg),radius (m)\n{rows}")
    return prepare("table", folder / "kilograms.zarr", inputs=[folder / "kilograms.csv"])


@pytest.fixture
def model(tmp_path, stars):
    def save(store=None, **section):
        section = ModelSection(**{**SIZES, "quantiles": (0.1, 0.5, 0.9), **section})
        tokenization = tokenization_for(section, None, [open_records(store or stars)])
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
        (tmp_path / "model").mkdir(exist_ok=True)
        write_model(tmp_path / "model", network.state_dict(), description)
        return Filler(network, tokenization, decoding="valid")

    return save


def run(tmp_path, data, output="out.jsonl", *overrides, **options):
    checkpoint = tmp_path / "model" / "model.safetensors"
    request = PredictRequest(
        checkpoint=checkpoint, data=(data,), output=tmp_path / output, overrides=overrides, json=True, **options
    )
    return predict.run(request)


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


RECORDS = [
    {"name": "é Cen", "mass": None, "radii": [1.5, None], "year": 1999, "note": None},
    {"name": "Sun", "mass": 1.0, "radii": [1.0, 2.0], "year": 2001, "note": "known"},
    {"mass": 0.7},
]


def test_nulls_become_numbers_and_all_else_stays(tmp_path, model):
    filler = model()
    found = run(tmp_path, write_lines(tmp_path / "in.jsonl", RECORDS))
    assert (found["records"], found["filled"]) == (3, 2)
    assert found["interval"] == pytest.approx(0.8)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    filled = [line.pop("_filled") for line in lines]
    assert [line.pop("_id") for line in lines] == ["in.jsonl:1", "in.jsonl:2", "in.jsonl:3"]
    assert lines[1:] == RECORDS[1:]
    assert filled[1:] == [{}, {}]
    # Where the model has learned no number, a null stays what it is.
    assert lines[0]["note"] is None
    assert {key: lines[0][key] for key in ("name", "year")} == {"name": "é Cen", "year": 1999}
    assert set(filled[0]) == {"/mass", "/radii/1"}
    for pointer, value in (("/mass", lines[0]["mass"]), ("/radii/1", lines[0]["radii"][1])):
        entry = filled[0][pointer]
        assert entry["value"] == value
        assert entry["interval"][0] < entry["interval"][1]
    assert filled[0]["/radii/1"]["key_path"] == "radii"
    assert filler.tokenization.language.key_paths == ("mass", "radii")


def test_numbers_stand_in_free_text_where_its_gaps_were_and_nothing_else_changes(tmp_path, model):
    sizes = np.random.default_rng(0).uniform(0.5, 2, 60)
    lines = [f"A star of {size:.4f} suns, é v1.2 and {size / 2:.4f} au.\n" for size in sizes]
    (tmp_path / "stars.txt").write_text("".join(lines))
    filler = model(prepare("text", tmp_path / "text.zarr", inputs=[tmp_path / "stars.txt"]))
    texts = ["A star of [NUM] suns, é v1.2 and 0.7 au.", "A star of 1.5 suns.", "[NUM] and [NUM]; ??"]
    (tmp_path / "in.txt").write_text("\n".join(texts))

    def answered(*overrides):
        found = run(tmp_path, tmp_path / "in.txt", "out.jsonl", "source=text", "overwrite=true", *overrides)
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        return found["filled"], lines

    count, lines = answered("digits=full")
    filled = [[entry["value"] for entry in line["_filled"].values()] for line in lines]
    assert count == 3
    assert [len(values) for values in filled] == [1, 0, 2]
    for text, values, line in zip(texts, filled, lines, strict=True):
        assert line["record"] == text.replace("[NUM]", "{}").format(*map(repr, values))
    # What stands in the gap is what the model says of a number that is hidden there, with the words around it in view.
    language = filler.tokenization.language
    records = encode_records([Record("r", FreeText(texts[0].replace("[NUM]", "1.0")))], language.vocabulary)
    answers = filler.fill(records, np.array([True, False]))
    assert filled[0] == [pytest.approx(float(answers.values[0]), rel=1e-5)]

    (tmp_path / "in.txt").write_text("\n".join([texts[0].replace("[NUM]", "??"), texts[1], "no [NUM]"]))
    count, lines = answered("digits=full", "gap=??")
    assert count == 1
    assert [entry["value"] for entry in lines[0]["_filled"].values()] == pytest.approx(filled[0], rel=1e-5)
    assert lines[2]["record"] == "no [NUM]"


def test_answers_do_not_depend_on_the_batch(tmp_path, model):
    model()
    data = write_lines(tmp_path / "in.jsonl", RECORDS * 5)
    run(tmp_path, data)
    run(tmp_path, data, "two.jsonl", "batch_records=2")
    one, two = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("out.jsonl", "two.jsonl")
    )
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        if first.get("_filled"):
            assert first["mass"] == pytest.approx(second["mass"], abs=1e-5)


def test_numbers_beyond_the_band_of_the_model_are_said_in_training_and_in_prediction(
    tmp_path, model, records_store, capsys
):
    values = [{"mass": 1e6 if row == 7 else 1.0 + row / 10, "age": float(row)} for row in range(60)]
    store = records_store(values, "outlier", "scaling.default=affine")
    capsys.readouterr()
    model(store, encoding="xval")
    assert (
        "numbers beyond 5 after scaling, where plain xVal hardly tells them apart: mass (1.67%, scaled by affine)"
        in (" ".join(capsys.readouterr().err.split()))
    )
    write_lines(tmp_path / "in.jsonl", [{"mass": None, "age": 1e9}, {"mass": None, "age": 2.0}])
    run(tmp_path, tmp_path / "in.jsonl")
    assert "age (50.00%, scaled by affine)" in " ".join(capsys.readouterr().err.split())


def test_texts_of_the_data_that_are_formulas_come_back_and_are_said_or_are_quoted(tmp_path, model, capsys):
    model()
    (tmp_path / "in.csv").write_text("name,mass\n=1+1,\nSirius,2.5\n-5,1.5\n@a,2\n")
    for overrides, names in (
        ((), ["=1+1", "Sirius", "-5", "@a"]),
        (("quote_formulas=true",), ["'=1+1", "Sirius", "-5", "'@a"]),
    ):
        run(tmp_path, tmp_path / "in.csv", "out.csv", "overwrite=true", *overrides)
        with (tmp_path / "out.csv").open(newline="") as file:
            assert [row["name"] for row in csv.DictReader(file)] == names
        assert ("2 texts begin as formulas do" in capsys.readouterr().err) == (not overrides)


def test_a_record_that_is_too_long_is_left_out_by_its_number_and_the_others_are_answered(tmp_path, model, capsys):
    model()
    lines = [{"mass": None}, {"mass": None, "name": "x" * 200}, {"mass": None, "name": "y"}]
    found = run(tmp_path, write_lines(tmp_path / "in.jsonl", lines))
    assert (found["records"], found["filled"], found["left_out"]) == (2, 2, 1)
    assert "in.jsonl:2: left out:" in capsys.readouterr().err
    assert [json.loads(line)["_id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        "in.jsonl:1",
        "in.jsonl:3",
    ]
    with pytest.raises(SourceError, match="no records that the model could read"):
        run(tmp_path, write_lines(tmp_path / "in.jsonl", lines[1:2]), "none.jsonl")


def test_a_text_file_is_a_table_where_the_training_was_from_one(tmp_path, model, kilograms):
    model(kilograms)
    (tmp_path / "in.txt").write_text("mass radius\n2.5 NA\n7.5 9.5\n")
    assert run(tmp_path, tmp_path / "in.txt")["filled"] == 1


def test_answers_have_the_digits_of_the_columns_own_numbers_and_integers_are_integers(tmp_path, model, records_store):
    generator = np.random.default_rng(1)
    values = [
        {"n": int(n), "mass": round(float(mass), 1), "exact": float(mass)}
        for n, mass in zip(generator.integers(1, 50, 60), generator.uniform(1, 9, 60), strict=True)
    ]
    model(records_store(values, "digits", "scaling.default=affine"))
    lines = [{"n": None, "mass": 2.5, "exact": 2.4}, {"n": 7, "mass": None, "exact": None}]
    run(tmp_path, write_lines(tmp_path / "in.jsonl", lines))
    run(tmp_path, tmp_path / "in.jsonl", "full.jsonl", "digits=full")
    (one, two), (first, second) = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("out.jsonl", "full.jsonl")
    )
    assert isinstance(one["n"], int)
    assert one["n"] == round(first["n"])
    assert two["mass"] == round(second["mass"], 1) != second["mass"]
    assert two["exact"] == second["exact"]
    for short, full in (
        (one["_filled"]["/n"], first["_filled"]["/n"]),
        (two["_filled"]["/mass"], second["_filled"]["/mass"]),
    ):
        assert short["interval"][0] <= full["interval"][0] < full["interval"][1] <= short["interval"][1]
        assert short["interval"][1] - short["interval"][0] < full["interval"][1] - full["interval"][0] + 0.2


def test_a_header_that_states_its_unit_in_square_brackets_comes_back_as_it_was(tmp_path, model):
    model()
    (tmp_path / "in.csv").write_text("name,mass [kg]\nSun,\nSirius,2.5\n")
    run(tmp_path, tmp_path / "in.csv", "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.reader(file))[1:3] == ["name", "mass [kg]"]


def test_csv_in_and_csv_out(tmp_path, model):
    model()
    (tmp_path / "in.csv").write_text("name,mass (kg)\nSun,\nSirius,2.5\n")
    found = run(tmp_path, tmp_path / "in.csv", "out.csv")
    assert found["filled"] == 1
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["Sun", "Sirius"]
    assert float(rows[0]["mass_low"]) < float(rows[0]["mass_high"])
    assert np.isfinite(float(rows[0]["mass (kg)"]))
    assert rows[1]["mass (kg)"] == "2.5"
    assert [row["_filled"] for row in rows] == ["mass", ""]


def test_numbers_in_another_unit_than_the_model_s_are_refused(tmp_path, model, kilograms):
    model(kilograms)
    (tmp_path / "grams.csv").write_text("mass (g),radius (m)\n,1.5\n2.5,3.5\n7.5,9.5\n")
    with pytest.raises(SourceError, match=r"grams.csv: mass is in g, the model learned it in kg"):
        run(tmp_path, tmp_path / "grams.csv")
    store = prepare("table", tmp_path / "grams.zarr", inputs=[tmp_path / "grams.csv"])
    checkpoint = tmp_path / "model" / "model.safetensors"
    with pytest.raises(SourceError, match=r"grams.zarr: mass is in g"):
        evaluation.run(EvalRequest(checkpoint=checkpoint, data=(store,), split="train", output=tmp_path / "eval"))
    data = (tmp_path / "grams.csv",)
    with pytest.raises(SourceError, match=r"grams.csv: mass is in g"):
        embed.run(EmbedRequest(checkpoint=checkpoint, data=data, output=tmp_path / "vectors.parquet"))
    start = load_start(tmp_path / "model" / "model.safetensors")
    recipe = FinetuneRecipe(
        family="xval", verb="finetune", train={"steps": 1, "global_batch_size": 2, "micro_batch_size": 2}
    )
    with pytest.raises(StoreError, match=r"grams.zarr: mass is in g, in the checkpoint it is in kg"):
        extended(recipe, start.tokenization, [open_records(store)])
    # However a unit is written it is one; without one in the header the model's is meant, and said.
    (tmp_path / "same.csv").write_text("mass,radius (1000 mm)\n,1.5\n")
    run(tmp_path, tmp_path / "same.csv", "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text())["_filled"]["/mass"]["unit"] == "kg"


def test_only_columns_that_can_be_filled_have_bounds_and_a_second_round_keeps_the_first(tmp_path, model):
    model(context=192)
    (tmp_path / "in.csv").write_text("name,mass (kg)\nSun,\nSirius,2.5\n")
    run(tmp_path, tmp_path / "in.csv", "out.csv")
    run(tmp_path, tmp_path / "out.csv", "again.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        first = list(csv.DictReader(file))
    with (tmp_path / "again.csv").open(newline="") as file:
        second = list(csv.DictReader(file))
    assert list(first[0]) == ["_record", "name", "mass (kg)", "mass_low", "mass_high", "_filled"]
    assert [row["mass_low"] for row in first][1] == ""
    assert all(
        {key: row[key] for key in ("name", "mass (kg)", "mass_low")}
        == {key: old[key] for key in ("name", "mass (kg)", "mass_low")}
        for row, old in zip(second, first, strict=True)
    )
    assert len(set(second[0])) == len(second[0])


def test_models_without_intervals_write_no_columns_for_them(tmp_path, model):
    model(quantiles=())
    (tmp_path / "in.csv").write_text("name,mass (kg)\nSun,\nSirius,2.5\n")
    run(tmp_path, tmp_path / "in.csv", "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "_record,name,mass (kg),_filled"


def test_half_characters_come_back_as_the_escapes_that_they_were(tmp_path, model):
    model()
    line = '{"name": "\\ud800x \u00e9", "mass": null}'
    (tmp_path / "in.jsonl").write_text(line + "\n", encoding="utf-8")
    run(tmp_path, tmp_path / "in.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))["name"] == json.loads(line)["name"]
    run(tmp_path, tmp_path / "in.jsonl", "out.csv")
    assert "\\ud800x \u00e9" in (tmp_path / "out.csv").read_text(encoding="utf-8")


def test_an_array_of_json_is_one(tmp_path, model):
    model()
    run(tmp_path, write_lines(tmp_path / "in.jsonl", RECORDS), "out.json")
    assert len(json.loads((tmp_path / "out.json").read_text())) == 3


def test_records_of_a_store_are_filled_too(tmp_path, model, stars):
    model()
    found = run(tmp_path, stars, split="train", limit=4)
    assert found["records"] == 4
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["_filled"] == {}
    assert isinstance(first["year"], int)


@pytest.mark.parametrize("encoding", ["p1000", "xval", "fone", "bits"])
@pytest.mark.parametrize("causal", [False, True])
def test_every_kind_of_model_fills_in(tmp_path, model, encoding, causal):
    model(encoding=encoding, causal=causal, quantiles=(), exponents=(-4, 3) if encoding == "fone" else None)
    run(tmp_path, write_lines(tmp_path / "in.jsonl", RECORDS))
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert np.isfinite(first["mass"])
    assert np.isfinite(first["radii"][1])
    assert first["_filled"]["/mass"]["interval"] is None


def test_a_causal_model_goes_on_from_its_own_answers(tmp_path, model):
    filler = model(causal=True, quantiles=())
    run(tmp_path, write_lines(tmp_path / "in.jsonl", RECORDS[:1]))
    first = json.loads((tmp_path / "out.jsonl").read_text())
    own = {**RECORDS[0], "mass": first["mass"]}
    run(tmp_path, write_lines(tmp_path / "again.jsonl", [own]), "again_out.jsonl")
    second = json.loads((tmp_path / "again_out.jsonl").read_text())
    assert second["radii"][1] == pytest.approx(first["radii"][1], abs=1e-5)
    assert filler.model.section.causal


def test_only_the_keys_that_are_asked_for(tmp_path, model):
    model()
    found = run(tmp_path, write_lines(tmp_path / "in.jsonl", RECORDS), "out.jsonl", "keys=[radii]")
    assert found["filled"] == 1
    with pytest.raises(RecipeError, match="no key path of the data fits 'radius'"):
        run(tmp_path, tmp_path / "in.jsonl", "two.jsonl", "keys=[radius]")


def test_what_cannot_be_done_is_refused_and_nothing_is_written(tmp_path, model):
    model()
    data = write_lines(tmp_path / "in.jsonl", RECORDS)
    with pytest.raises(UserError, match=r"the suffix says the format"):
        run(tmp_path, data, "out.txt")
    write_lines(tmp_path / "bad.jsonl", [{"mass": 1.0}]).open("a").write("{oops\n")
    with pytest.raises(SourceError, match=r"bad.jsonl, line 2"):
        run(tmp_path, tmp_path / "bad.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == []
    run(tmp_path, data)
    with pytest.raises(UserError, match="exists already"):
        run(tmp_path, data)


def test_files_of_every_source_are_read(tmp_path, model):
    model()
    (tmp_path / "lines.txt").write_text("{'mass': None, 'year': 2001}\n{'mass': 2.0, 'year': 2002}\n")
    assert run(tmp_path, tmp_path / "lines.txt", "lines.jsonl")["filled"] == 1
    (tmp_path / "prose.txt").write_text("A star.\nAnother one.\n")
    assert run(tmp_path, tmp_path / "prose.txt", "prose.jsonl")["records"] == 2
    # A table by another name is no CSV to a look at it.
    (tmp_path / "table.txt").write_text("name,mass\nSun,\n")
    found = run(tmp_path, tmp_path / "table.txt", "table.jsonl", "source=table")
    assert (found["records"], found["filled"]) == (1, 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("mass\n1\n")
    write_lines(tmp_path / "in" / "b.jsonl", RECORDS)
    with pytest.raises(SourceError, match=r"inputs of different kinds: .*in/a.csv is for the source table, .*b.json"):
        run(tmp_path, tmp_path / "in", "both.jsonl")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_overwrite_replaces_what_predict_wrote_and_never_what_is_read_or_the_user_s(tmp_path, model, suffix):
    model()
    data = write_lines(tmp_path / "in.jsonl", [{"mass": None, "name": "a"}, {"mass": 2.0, "name": "b"}])
    out = f"out{suffix}"
    run(tmp_path, data, out)
    run(tmp_path, data, out, "overwrite=true", limit=1)
    written = (tmp_path / out).read_text()
    assert "b" not in written
    with pytest.raises(UserError, match="is read by this command"):
        run(tmp_path, tmp_path / out, out, "overwrite=true")
    assert (tmp_path / out).read_text() == written
    mine = {".jsonl": '{"mass": 1.0}\n', ".json": '[\n{"mass": 1.0}\n]\n', ".csv": "mass,filled\n1.0,\n"}[suffix]
    for content in (mine, "", "\x00", "{"):
        (tmp_path / out).write_text(content)
        with pytest.raises(UserError, match="is not replaced, for it is not records that polycli wrote"):
            run(tmp_path, data, out, "overwrite=true")
        assert (tmp_path / out).read_text() == content


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, model, full_disk, suffix):
    model()
    data = write_lines(tmp_path / "in.jsonl", [{"mass": None, "name": f"star {n}"} for n in range(40)])
    before = sorted(tmp_path.iterdir())
    with full_disk(500), pytest.raises(PolycliError, match=f"out{suffix}: records cannot be written: File too large"):
        run(tmp_path, data, f"out{suffix}")
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_names_its_output(tmp_path, model, capsys):
    model()
    data = write_lines(tmp_path / "in.jsonl", RECORDS)
    line = ["predict", "xval", "--checkpoint", str(tmp_path / "model"), "--data", str(data)]
    assert command_line([*line, "--output", str(tmp_path / "out.jsonl")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out.jsonl'}\n"
    assert "3 records, 2 values filled in" in captured.err


def test_answers_are_put_in_the_order_of_the_walk():
    value = {
        "a~b": [None, {"x/y": None}],
        "t": FreeText("m = 5"),
        "n": NumberLiteral("1e400"),
        "z": float("nan"),
        "k": None,
    }
    answers = iter([Answer(1.0, None), Answer(2.0, (1.5, 2.5)), Answer(3.0, None)])
    found = fill_in("r", value, answers, Asked(KeyPatterns(["a~b", "a~b.x/y", "z"])), {"a~b*": "kg"})
    assert found.value == {"a~b": [1.0, {"x/y": 2.0}], "t": "m = 5", "n": "1e400", "z": 3.0, "k": None}
    assert [item.pointer for item in found.filled] == ["/a~0b/0", "/a~0b/1/x~1y", "/z"]
    assert [item.unit for item in found.filled] == ["kg", None, None]


def test_a_bound_beyond_float64_is_none_at_all():
    answers = Answers(np.array([1.0, 1.0]), np.array([[0.5, 1.0, 2.0], [0.5, 1.0, np.inf]]))
    found = [predict._answer(answers, number, own_bounds(answers), Digits(), "a").interval for number in (0, 1)]
    assert found == [(0.5, 2.0), None]
