"""With `objective.hide: values` numbers and texts are hidden, a text as a whole, and what names them is always seen."""

import numpy as np
import pytest

from polycli.errors import RecipeError
from polycli.xval.data.store import RecordStore
from polycli.xval.recipe.model import ModelSection, ObjectiveSection
from polycli.xval.recipe.training import PretrainRecipe
from polycli.xval.records.encode import RecordEncoder
from polycli.xval.records.structure import FIRST_BYTE, FIRST_KEY, NUM
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.training.fill_in import pretraining
from polycli.xval.training.masking import Masking, record_seeds, text_runs

VALUES = ObjectiveSection(hide="values", mask_probability=0.3)


def encoded(*values: object, keys: tuple[str, ...] = ("cut", "price", "sold", "sizes")):
    encoder = RecordEncoder(Vocabulary(keys))
    for place, value in enumerate(values):
        encoder.add(value, id=str(place))
    return encoder.records()


def texts_of(ids: np.ndarray) -> list[str]:
    starts, stops = text_runs(ids)
    return [
        bytes(token - FIRST_BYTE for token in ids[start:stop]).decode() if ids[start] >= FIRST_BYTE else "word"
        for start, stop in zip(starts, stops, strict=True)
    ]


def test_the_texts_of_a_record_are_its_values_and_no_spelled_key():
    records = encoded({"cut": "good", "price": 3, "sold": True, "unheard of": "ü", "sizes": ["a", None, ""]})
    assert texts_of(records.token_ids) == ["good", "word", "ü", "a"]


def test_keys_and_brackets_are_never_hidden():
    records = encoded(*({"cut": "good", "price": i, "sold": False, "sizes": [1, "b"]} for i in range(200)))
    hidden = Masking(VALUES, records.key_paths).draw(records, record_seeds(0, "s", np.arange(200), 0))
    ids = records.token_ids
    value = (ids == NUM) | ((ids >= FIRST_BYTE) & (ids < FIRST_KEY)) | (ids == 13)
    assert not hidden[~value].any()
    # 600 numbers, and 600 texts.
    assert hidden[ids == NUM].mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / 400))
    starts, stops = text_runs(ids)
    shares = np.array([hidden[start:stop].mean() for start, stop in zip(starts, stops, strict=True)])
    assert set(shares) == {0.0, 1.0}
    assert shares.mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / 600))


def test_what_is_hidden_of_a_record_depends_on_nothing_but_its_seed():
    records = encoded(*({"cut": "g" * i, "price": i, "sold": i % 2 == 0} for i in range(20)))
    masking, seeds = Masking(VALUES, records.key_paths), record_seeds(0, "s", np.arange(20), 0)
    whole = masking.draw(records, seeds)
    for row in (0, 7, 19):
        alone = masking.draw(records.select([row]), seeds[[row]])
        np.testing.assert_array_equal(alone, whole[records.token_offsets[row] : records.token_offsets[row + 1]])


@pytest.fixture
def store(records_store) -> RecordStore:
    from polycli.store.reader import open_store

    return RecordStore(open_store(records_store([{"cut": "good", "price": i, "weight": i / 3} for i in range(60)])))


def recipe(**changes) -> PretrainRecipe:
    document = {
        "family": "xval",
        "verb": "pretrain",
        "model": {"embed_dim": 16, "num_heads": 2, "blocks": 1, "feed_forward": 16, "context": 64, "cells": True},
        "data": {"workers": 0},
        "train": {"steps": 2, "global_batch_size": 16, "micro_batch_size": 8},
    }
    return PretrainRecipe.model_validate({**document, **changes})


def test_the_divisors_of_the_loss_are_the_counts_of_what_is_hidden(store):
    from polycli.launch import World

    task = pretraining(recipe(objective={"hide": "values"}), [store], World())
    batches = [batch.load() for batch in task.micro_batches(0, World())]
    for place, targets in ((0, "target_ids"), (1, "number_targets")):
        expected = sum(len(batch[targets]) for batch in batches) / len(batches)
        assert [float(batch["divisors"][place]) for batch in batches] == [pytest.approx(expected)] * len(batches)


def test_a_model_that_reads_values_by_their_keys_refuses_an_objective_that_hides_keys(store):
    from polycli.launch import World

    with pytest.raises(RecipeError, match=r"objective\.hide: everything would hide keys"):
        pretraining(recipe(), [store], World())


@pytest.mark.parametrize("other", [{"encoding": "p10"}, {"causal": True}])
def test_only_models_that_fill_in_numbers_of_one_token_read_cells(other):
    with pytest.raises(ValueError, match="cells are for encodings whose numbers are one token"):
        ModelSection(cells=True, **other)


def test_the_weight_of_tokens_counts_in_training_and_validation_alike(store):
    from polycli.launch import World

    losses = {}
    for weight in (1.0, 0.25):
        task = pretraining(recipe(objective={"hide": "values", "token_weight": weight}), [store], World())
        loss, metrics = task.model(task.micro_batches(0, World())[0].load())
        validation = task.validate(task.model.eval(), World())
        losses[weight] = [float(loss) - weight * float(metrics["token_loss"])]
        losses[weight] += [validation["validation/loss"] - weight * validation["validation/token_loss"]]
    assert losses[1.0] == pytest.approx(losses[0.25], rel=1e-5)
