"""A checkpoint and records of the user's own: what stays, what is new by name, what is predicted, what is refused."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from polycli.checkpoints.exported import read_description
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.errors import CheckpointError, RecipeError, StoreError, UserError
from polycli.requests import TrainRequest
from polycli.xval import finetune, load_model, pretrain
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import tokenization_for
from polycli.xval.model.weights import record_model_from
from polycli.xval.numbers import token_names
from polycli.xval.recipe.model import DataSection, ModelSection
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.training.batches import open_pool
from polycli.xval.training.labels import LabelledPool, describe_head, labels_of
from polycli.xval.training.starting import extended, extended_tensors, load_start

RECIPE = FinetuneRecipe(
    family="xval", verb="finetune", train={"steps": 1, "global_batch_size": 8, "micro_batch_size": 2}
)


@pytest.fixture(scope="module")
def base(planets, tmp_path_factory):
    """Runs of tiny models on planets, by encoding."""
    folder, runs = tmp_path_factory.mktemp("base"), {}
    for encoding in ("xval", "p10"):
        recipe = folder / f"{encoding}.yaml"
        recipe.write_text(
            f"""
family: xval
verb: pretrain
model: {{encoding: {encoding}, embed_dim: 24, num_heads: 2, blocks: 1, feed_forward: 48, context: 512, dropout: 0.0}}
train: {{steps: 2, global_batch_size: 8, micro_batch_size: 8}}
""",
            encoding="utf-8",
        )
        runs[encoding] = folder / encoding
        pretrain.run(TrainRequest(recipe=str(recipe), data=(planets,), output=runs[encoding]))
    return runs


@pytest.fixture(scope="module")
def stars(records_store):
    """Records of another kind, with a class and a value that follow from their numbers."""
    generator = np.random.default_rng(0)
    values = []
    for _ in range(160):
        m, giant = float(generator.uniform(0.5, 2)), bool(generator.random() < 0.5)
        values.append(
            {
                "description": {"planet0": {"m": m, "a": 1.0 if giant else -1.0}},
                "kind": "giant" if giant else "dwarf",
                "age": 2 * m + (3.0 if giant else 0.0),
            }
        )
    values[3]["kind"] = None
    return records_store(values, "stars")


def tune(recipe: str, base: Path, store: Path, output: Path, *overrides: str, **options):
    request = TrainRequest(recipe=recipe, checkpoint=base, data=(store,), output=output, overrides=overrides, **options)
    return finetune.run(request)


@pytest.mark.parametrize("encoding", ["xval", "p10"])
def test_tokens_keep_their_rows_by_name_and_new_keys_get_new_ones(base, stars, encoding):
    start = load_start(base[encoding])
    tokenization = extended(RECIPE, start.tokenization, [open_records(stars)])
    tensors = extended_tensors(start, tokenization)

    before = token_names(start.tokenization.language.vocabulary, start.tokenization.encoding)
    now = token_names(tokenization.language.vocabulary, tokenization.encoding)
    assert set(now) - set(before) == {"key:kind", "key:age"}
    for name in ("token_embed.weight", "lm_head.2.weight"):
        old, new = start.network.state_dict()[name], tensors[name]
        assert len(new) == len(now)
        for place, token in enumerate(now):
            if token in before:
                assert torch.equal(new[place], old[before.index(token)])
        assert torch.isfinite(new).all()
    # Key paths that were known keep their scaler and their place.
    assert tokenization.language.key_paths[: len(start.tokenization.language.key_paths)] == (
        start.tokenization.language.key_paths
    )
    statistics = open_records(stars).statistics["age"]
    assert tokenization.scaling.of("age").shift == statistics.mean
    assert tokenization.scaling.of("description.planet0.m") == start.tokenization.scaling.of("description.planet0.m")


def test_answers_are_rounded_no_more_than_either_training_was_written(base, stars, records_store):
    known = extended(RECIPE, load_start(base["xval"]).tokenization, [open_records(stars)])
    assert not {"description.planet0.m", "age"} & set(known.reading.digits.decimals)  # Of a computation, both.
    rows = [{"description": {"planet0": {"m": m / 2}}, "age": m, "new": m} for m in range(40)]
    coarse = extended(RECIPE, known, [open_records(records_store(rows, "coarse"))])
    assert not {"description.planet0.m", "age"} & set(coarse.reading.digits.decimals)
    assert coarse.reading.digits.decimals["new"] == 0
    fine = [{"new": m / 7} for m in range(40)]
    assert "new" not in extended(RECIPE, coarse, [open_records(records_store(fine, "fine"))]).reading.digits.decimals


def test_what_the_checkpoint_knows_it_says_as_before(base, planets, stars, finetune_recipe, tmp_path):
    tune(finetune_recipe, base["xval"], stars, tmp_path / "run", "train.steps=1", "optim.learning_rate=1e-12")
    store = open_records(planets)
    records = store.read(store.rows("test")[:1])
    token_ids = torch.from_numpy(records.token_ids.astype(np.int64))[None]
    numbers = torch.ones(token_ids.shape)
    before, after = load_model(base["xval"]), load_model(tmp_path / "run")
    with torch.no_grad():
        expected, found = before(token_ids, numbers), after(token_ids, numbers)
    torch.testing.assert_close(found[..., : before.tokens], expected, rtol=1e-4, atol=1e-5)


def test_a_store_of_the_same_name_hides_nothing_that_the_checkpoint_had_seen(
    base, records_store, finetune_recipe, tmp_path
):
    namesake = records_store([{"description": {"planet0": {"m": float(m)}}} for m in range(40)], "planets")
    tune(finetune_recipe, base["xval"], namesake, tmp_path / "run", "train.steps=1")
    described = read_description(resolve_checkpoint(tmp_path / "run").description_file)
    earlier = read_description(resolve_checkpoint(base["xval"]).description_file)
    assert described.trained_on["planets (--checkpoint)"] == earlier.trained_on["planets"]
    assert described.trained_on["planets"].store_hash == open_records(namesake).store.manifest.store_hash


@pytest.mark.slow
@pytest.mark.distributed
def test_the_command_line_finetunes_on_two_processes_and_goes_on(base, stars, finetune_recipe, tmp_path):
    line = ["finetune", "xval", "--recipe", finetune_recipe, "--checkpoint", base["xval"], "--data", stars]
    line += ["--output", tmp_path / "run", "--nproc", 2, "--json"]
    for overrides in (["--set", "train.steps=4"], []):
        done = subprocess.run(
            [sys.executable, "-m", "polycli", *map(str, line), *overrides],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")},
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 8
    described = read_description(tmp_path / "run" / "checkpoints" / "step-00000008" / "model.json")
    assert described.verb == "finetune"
    assert set(described.trained_on) == {"planets (--checkpoint)", "stars"}


@pytest.mark.parametrize("freeze", [False, True])
def test_a_class_is_learnt_from_the_rest_of_the_record(base, stars, finetune_recipe, tmp_path, freeze, capsys):
    overrides = ["head.kind=classification", "head.target=kind", f"head.freeze={str(freeze).lower()}"]
    done = tune(finetune_recipe, base["xval"], stars, tmp_path / "run", *overrides, "train.steps=30")

    assert done["validation"]["validation/accuracy"] > 0.9
    assert "1 training records have no value at 'kind'" in capsys.readouterr().err
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-00000030")
    model = record_model_from(checkpoint / "model.safetensors", read_description(checkpoint / "model.json"))
    assert model.head.classes == ("dwarf", "giant")
    # The network alone is what `load_model` gives.
    assert not [name for name in load_model(tmp_path / "run").state_dict() if "record_head" in name]
    if freeze:
        torch.testing.assert_close(model.position_embed.weight, load_model(base["xval"]).position_embed.weight)


def test_a_value_is_learnt_and_scored_in_its_own_units(base, stars, finetune_recipe, tmp_path):
    overrides = ["head.kind=regression", "head.target=age", "train.steps=40"]
    done = tune(finetune_recipe, base["xval"], stars, tmp_path / "run", *overrides)

    scores = done["validation"]
    store = open_records(stars)
    ages = store.read(store.rows("train"))
    training = ages.numbers[ages.number_keys == store.key_paths.index("age")]
    assert scores["validation/r2"] > 0.5
    assert scores["validation/rmse"] == pytest.approx(np.sqrt(scores["validation/loss"]) * training.std())


def test_the_value_that_is_asked_for_is_not_shown(base, stars, finetune_recipe, tmp_path):
    # The age shuffled between records cannot be learnt, unless it can be read.
    from polycli.engine.task import World

    recipe = RECIPE.model_copy(update={"head": RECIPE.head.model_copy(update={"kind": "regression", "target": "age"})})
    task = finetune.finetuning(recipe, load_start(base["xval"]), [open_records(stars)], World())
    batch = task.micro_batches(0, World())[0].load()
    vocabulary = task.batches.tokenization.language.vocabulary
    names = [vocabulary.tokens[token] for token in batch["token_ids"][0].tolist()]
    assert names[names.index("key:age") + 1] == "null"
    assert names.count("[NUM]") == 2


def test_chosen_keys_alone_are_practised(base, stars, finetune_recipe, tmp_path):
    done = tune(
        finetune_recipe, base["xval"], stars, tmp_path / "run", "objective.keys=[age]", "objective.mask_probability=1"
    )
    assert [name for name in done["validation"] if name.startswith("validation/rmse/")] == ["validation/rmse/age"]
    assert done["validation"]["validation/token_accuracy"] >= 0


def test_new_keys_can_be_refused(base, stars, finetune_recipe, tmp_path):
    with pytest.raises(StoreError, match="no key 'kind', nor 1 others"):
        tune(finetune_recipe, base["xval"], stars, tmp_path / "run", "new_keys=refuse")
    assert not (tmp_path / "run").exists()


def test_numbers_that_the_checkpoint_s_text_form_cannot_write_are_refused_before_training(
    base, records_store, finetune_recipe, tmp_path
):
    # Its exponents are those of planets; under a key that it knows, numbers keep their scale.
    large = records_store([{"description": {"planet0": {"a": 1e6 * (1 + n)}}} for n in range(20)], "large")
    with pytest.raises(StoreError, match=r"large.zarr: its scaled numbers reach from 1e6 to 1e7, p10 writes"):
        tune(finetune_recipe, base["p10"], large, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_of_another_checkpoint_is_refused(base, stars, finetune_recipe, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (source,) = (base["xval"] / "checkpoints").glob("step-*")
    (folder / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
    description = json.loads((source / "model.json").read_text())
    description["vocabulary"]["keys"].append("one more")
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="does not belong to this checkpoint"):
        tune(finetune_recipe, folder, stars, tmp_path / "run")
    with pytest.raises(CheckpointError, match="does not belong to this checkpoint"):
        load_model(folder)


@pytest.mark.parity
def test_a_published_file_has_no_vocabulary_to_go_on_from(shared, stars, finetune_recipe, tmp_path):
    with pytest.raises(CheckpointError, match="nothing says which keys and tokens it knows"):
        tune(finetune_recipe, shared / "parity" / "xval_numformer.safetensors", stars, tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "error", "reason"),
    [
        (["head.kind=regression", "head.target=kind"], StoreError, "'kind' is '(giant|dwarf)' in a record, a number"),
        (["head.kind=regression", "head.target=agee"], RecipeError, r"head\.target.*'agee'.*age"),
        (["head.kind=regression"], StoreError, "the key path of one value was expected"),
        (["head.kind=classification", "head.target=age"], StoreError, "is [0-9.]+ in a record, a text, an integer"),
    ],
)
def test_targets_that_cannot_be_are_refused(base, stars, finetune_recipe, tmp_path, overrides, error, reason):
    with pytest.raises(error, match=reason):
        tune(finetune_recipe, base["xval"], stars, tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("odd", ["", False, "n/a", [], 10**400])
def test_a_value_that_is_no_number_is_named(base, records_store, finetune_recipe, tmp_path, odd):
    values = [{"m": float(place), "age": odd if place % 2 else 1.5 * place} for place in range(60)]
    store = records_store(values, "odd")
    with pytest.raises(StoreError, match=re.escape(f"'age' is {odd!r} in a record, a number was expected")):
        tune(finetune_recipe, base["xval"], store, tmp_path / "run", "head.kind=regression", "head.target=age")


def labelled(store, target, split):
    records = open_records(store)
    tokenization = tokenization_for(ModelSection(embed_dim=24, num_heads=2), None, [records])
    return LabelledPool(open_pool([records], split, tokenization, DataSection()), target)


def test_a_class_that_only_validates_is_left_out_and_said(stars, capsys):
    head = describe_head(labelled(stars, "kind", "train"), "classification", "kind")
    pool = labelled(stars, "kind", "validation")
    kept = [int(row) for row in pool.row_of[1:]]
    expected = [head.classes.index(value) for value in pool.values[1:]]
    pool.values[0] = "comet"
    assert labels_of(pool, head).tolist() == expected
    assert (pool.row_of.tolist(), len(pool.values), len(pool)) == (kept, len(kept), len(kept))
    assert pool.read(np.arange(len(kept))).token_lengths.tolist() == pool.lengths.tolist()
    assert "'kind' is 'comet' in a validation record" in capsys.readouterr().err


def test_text_among_the_numbers_that_validate_is_refused(stars):
    head = describe_head(labelled(stars, "age", "train"), "regression", "age")
    pool = labelled(stars, "age", "validation")
    pool.values[0] = "old"
    with pytest.raises(StoreError, match="'age' is 'old' in a record, a number was expected"):
        labels_of(pool, head)


def test_a_plan_writes_nothing(base, stars, finetune_recipe, tmp_path):
    plan = tune(finetune_recipe, base["xval"], stars, tmp_path / "run", dry_run=True, json=True)
    assert plan["vocabulary"] == load_model(base["xval"]).tokens + 2
    assert not (tmp_path / "run").exists()
    assert plan["run"]["would"] == "begin"
    tune(finetune_recipe, base["xval"], stars, tmp_path / "run")
    again = tune(finetune_recipe, base["xval"], stars, tmp_path / "run", dry_run=True, json=True)
    assert again["run"]["would"] == "nothing"


def test_without_a_checkpoint_there_is_nothing_to_finetune(stars, finetune_recipe):
    with pytest.raises(UserError, match="starts from a checkpoint, and none was given"):
        finetune.run(TrainRequest(recipe=finetune_recipe, data=(stars,)))
