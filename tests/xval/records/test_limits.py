"""Signs of limits are hidden with their numbers, in training as when a model is examined."""

import numpy as np
import pytest
import torch

from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import PretrainRecipe
from polycli.xval.records.decode import decode_records
from polycli.xval.records.limits import without_limits
from polycli.xval.records.structure import MASK, NULL, NUM, QUOTE
from polycli.xval.scoring.fill import Filler
from polycli.xval.training.batches import fill_in_batches
from tests.xval.conftest import prepare

SECTION = ModelSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=64, dropout=0.0)


def opened(folder, cells):
    folder.mkdir(exist_ok=True)
    (folder / "a.csv").write_text("x,y\n" + "".join(f"{cell},{number}.5\n" for number, cell in enumerate(cells)))
    store = open_records(prepare("table", folder / "a.zarr", "table.limits=value", inputs=[folder / "a.csv"]))
    return store, tokenization_for(SECTION, None, [store])


def test_a_limit_of_a_hidden_number_is_null_and_all_else_stays(tmp_path):
    store, tokenization = opened(tmp_path, ["<5", "7", "<9"] * 8)
    records = store.read(np.arange(3))
    keys = np.array([records.key_paths[key] for key in records.number_keys])
    hidden = (keys == "x") & (np.repeat(np.arange(3), 2) < 2)
    found, kept, nulls = without_limits(records, hidden, {"x": "x_limit"}, store.vocabulary.key_ids)
    expected = decode_records(records, store.vocabulary)
    for row in expected[:2]:
        row["x_limit"] = None
    assert decode_records(found, store.vocabulary) == expected
    # A sign is a quote, a byte and a quote; one null is left of each.
    signs = sum(row["x_limit"] is not None for row in decode_records(records.select([0, 1]), store.vocabulary))
    assert (len(kept) - kept.sum(), nulls.sum()) == (2 * signs, signs)
    assert tokenization.limit_keys == {"x": "x_limit"}


def test_the_keys_of_uncertainties_are_known_where_cells_had_some(tmp_path):
    _, tokenization = opened(tmp_path, ["1.5±0.1", "7", "2.5±0.2"] * 8)
    assert tokenization.error_keys == {"x": "x_error"}
    assert tokenization.limit_keys == {}


def test_a_column_of_uncertainties_is_that_of_its_neighbour(tmp_path):
    (tmp_path / "b.csv").write_text("x,x_error,y\n" + "".join(f"{row},0.{row},{row}.5\n" for row in range(1, 9)) * 3)
    store = open_records(prepare("table", tmp_path / "b.zarr", "duplicates=keep", inputs=[tmp_path / "b.csv"]))
    assert tokenization_for(SECTION, None, [store]).error_keys == {"x": "x_error"}


def test_an_answer_for_a_hidden_number_does_not_depend_on_the_sign_of_its_limit(tmp_path):
    """The sign stayed where its number was hidden, so scores of columns with limits were too good."""
    store, tokenization = opened(tmp_path, ["<5", "7", "<9"] * 8)
    torch.manual_seed(0)
    filler = Filler(Numformer(SECTION, tokenization.tokens).eval(), tokenization)
    records = tokenization.language.reader(tokenization.language)(store.read(np.arange(12)))
    plain, _, _ = without_limits(
        records, np.ones(24, dtype=np.bool_), tokenization.limit_keys, tokenization.language.vocabulary.key_ids
    )
    turns = np.where(np.array([records.key_paths[key] == "x" for key in records.number_keys]), 0, -1)
    answers = [filler.once(given, turns).values[turns == 0] for given in (records, plain)]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-5)
    assert len(records.token_ids) > len(plain.token_ids)


@pytest.mark.parametrize("hide", ["everything", "values"])
def test_training_hides_the_sign_of_a_limit_with_its_number_and_counts_what_is_left(tmp_path, hide):
    """The sign of a hidden number was seen: a model learned that a number without one is above the limit."""
    store, tokenization = opened(tmp_path, ["<5", "7", "<9"] * 40)
    document = {
        "family": "xval",
        "verb": "pretrain",
        "model": SECTION.model_dump(mode="json"),
        "objective": {"mask_probability": 0.5, "hide": hide},
        "train": {"steps": 2, "global_batch_size": 64, "micro_batch_size": 64},
    }
    recipe = PretrainRecipe.model_validate(document)
    batches = fill_in_batches([store], tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)
    step = batches.step(0)
    batch = step.reader.read(step.numbers, step.seeds)
    assert step.count().tokens == len(batch["target_ids"])
    sign, number = (tokenization.language.vocabulary.key_ids[key] for key in ("x_limit", "x"))
    seen = set()
    for row in batch["token_ids"].numpy():
        if sign not in row or number not in row:
            continue  # Of everything, the keys may be hidden themselves.
        told, shown = int(row[np.flatnonzero(row == number)[0] + 1]), int(row[np.flatnonzero(row == sign)[0] + 1])
        seen.add((told, shown))
    assert (MASK, ord(NULL)) in seen
    assert (NUM, ord(QUOTE)) in seen
    assert (MASK, ord(QUOTE)) not in seen
