"""Answers for hidden numbers: batches, padding and turns change nothing, and text is written token by token."""

import numpy as np
import pytest
import torch

from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language
from polycli.xval.model.numformer import Numformer
from polycli.xval.numbers import make_encoding
from polycli.xval.numbers.scaling import Scaler, Scaling
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.encode import encode_records
from polycli.xval.records.structure import MASK, NUM
from polycli.xval.records.values import Record
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.turns import turns_of

VALUES = [
    {"a": 1.5, "b": -2.0, "c": [1.0, 2.0, 3.0]},
    {"a": 0.25, "c": [4.0]},
    {"b": 3.0, "a": 2.0, "c": [0.5, -0.5, 1.5, 2.5, -3.5]},
]


def records_of(values=VALUES):
    return encode_records([Record(str(place), value) for place, value in enumerate(values)], Vocabulary("abc"))


def filler_of(encoding="xval", scaling=None, **section):
    section = ModelSection(
        encoding=encoding,
        exponents=(-2, 2),
        embed_dim=16,
        num_heads=2,
        blocks=2,
        feed_forward=32,
        context=64,
        dropout=0.0,
        **section,
    )
    tokenization = Tokenization(
        Language(Vocabulary("abc"), ("a", "b", "c")),
        make_encoding(encoding, (-2, 2)),
        scaling or Scaling({}),
        64,
    )
    torch.manual_seed(0)
    model = Numformer(section, tokenization.tokens).eval()
    return Filler(model, tokenization)


def by_hand(filler, values, hidden):
    """One record, no padding: what the model says of the numbers `hidden`, numbered within the record."""
    records = records_of([values])
    token_ids, numbers = records.token_ids.astype(np.int64).copy(), np.ones(len(records.token_ids), dtype=np.float32)
    slots = np.flatnonzero(token_ids == NUM)
    numbers[slots] = filler.tokenization.scaling.apply(records.numbers, records.number_keys, records.key_paths)
    token_ids[slots[hidden]], numbers[slots[hidden]] = MASK, 1
    with torch.no_grad():
        found = filler.model.outputs(torch.tensor(token_ids)[None], torch.tensor(numbers)[None])
    keys = records.number_keys[hidden]
    return filler.tokenization.scaling.invert(found.numbers[0].double().numpy()[slots[hidden]], keys, records.key_paths)


@pytest.mark.parametrize("batch_tokens", [1, 40, 10_000])
@pytest.mark.parametrize("encoding", ["xval", "multiscale", "fone", "bits"])
def test_answers_are_those_of_each_record_alone(encoding, batch_tokens):
    filler = Filler(filler_of(encoding).model, filler_of(encoding).tokenization, batch_tokens)
    hidden = [[0, 3], [1], [0, 1, 2, 6]]
    records = records_of()
    mask = np.zeros(len(records.numbers), dtype=bool)
    for row, places in enumerate(hidden):
        mask[records.number_offsets[row] + np.array(places)] = True
    found = filler.fill(records, mask).values
    expected = np.concatenate([by_hand(filler, value, places) for value, places in zip(VALUES, hidden, strict=True)])
    np.testing.assert_allclose(found[mask], expected, atol=1e-5)
    assert np.isnan(found[~mask]).all()


def test_answers_come_back_in_the_datas_units():
    scaling = Scaling({"a": Scaler("affine", 100.0, 7.0), "c": Scaler("asinh", 0.0, 0.5, 0.1)})
    filler = filler_of(scaling=scaling)
    found = filler.fill(records_of(VALUES[:1]), np.array([True, False, True, False, False]))
    np.testing.assert_allclose(found.values[[0, 2]], by_hand(filler, VALUES[0], [0, 2]), rtol=1e-5)


def test_every_number_is_answered_for_once_with_what_its_turn_hides():
    filler, records = filler_of(), records_of()
    passes = np.array([0, 1, 2, 0, 1, 0, 0, 2, 1, 0, 0, 1, -1, 2])[: len(records.numbers)]
    told = []
    found = filler.once(records, passes, told.append).values
    assert sum(told) == (passes >= 0).sum()
    for row, value in enumerate(VALUES):
        place = records.numbers_of(row)
        for turn in np.unique(passes[place]):
            mine = np.flatnonzero(passes[place] == turn)
            if turn < 0:
                assert np.isnan(found[place][mine]).all()
            else:
                np.testing.assert_allclose(found[place][mine], by_hand(filler, value, mine), atol=1e-5)


def test_quantiles_come_along_rising():
    filler = filler_of(quantiles=(0.1, 0.5, 0.9), scaling=Scaling({}, Scaler("affine", 5.0, 3.0)))
    records = records_of()
    found = filler.once(records, np.zeros(len(records.numbers), dtype=np.int64))
    assert found.quantiles.shape == (len(records.numbers), 3)
    assert (np.diff(found.quantiles, axis=1) > 0).all()


@pytest.mark.parametrize("encoding", ["p10", "p1000", "b1999", "fp15"])
def test_valid_decoding_always_gives_a_number(encoding):
    filler = filler_of(encoding)
    records = records_of()
    valid = Filler(filler.model, filler.tokenization, decoding="valid")
    found = valid.once(records, np.zeros(len(records.numbers), dtype=np.int64)).values
    assert np.isfinite(found).all()


def test_text_is_written_token_by_token():
    """The second token must see the first: compared with a loop that runs the model once for each token."""
    filler = filler_of("p1000")
    valid = Filler(filler.model, filler.tokenization, decoding="valid")
    records = records_of(VALUES[:1])
    hidden = np.array([True, False, False, True, False])
    found = valid.fill(records, hidden).values
    encoding, first = filler.tokenization.encoding, len(filler.tokenization.language.vocabulary)
    ids = []
    for token in records.token_ids:
        ids.extend([NUM] * 3 if token == NUM else [int(token)])
    slots = np.flatnonzero(np.array(ids) == NUM).reshape(-1, 3)
    ids = np.array(ids)
    ids[slots] = encoding.encode(records.numbers) + first
    ids[slots[hidden]] = MASK
    for place, (low, high) in enumerate(encoding.slots):
        with torch.no_grad():
            logits = filler.model(torch.tensor(ids)[None], torch.ones(1, len(ids)))[0]
        for slot in slots[hidden]:
            ids[slot[place]] = int(logits[slot[place], first + low : first + high].argmax()) + first + low
    np.testing.assert_array_equal(found[hidden], encoding.decode((ids[slots[hidden]] - first).astype(np.int32)))


def test_a_causal_model_answers_from_what_stands_before():
    filler = filler_of(causal=True)
    records = records_of(VALUES[:1])
    found = filler.fill(records, np.ones(5, dtype=bool)).values
    slots = np.flatnonzero(records.token_ids == NUM)
    for number, slot in enumerate(slots):
        numbers = np.ones(slot, dtype=np.float32)
        numbers[slots[:number]] = records.numbers[:number]
        with torch.no_grad():
            said = filler.model.outputs(
                torch.tensor(records.token_ids[:slot].astype(np.int64))[None], torch.tensor(numbers)[None]
            )
        assert found[number] == pytest.approx(float(said.numbers[0, -1]), abs=1e-5)


def test_a_causal_model_writes_text_after_the_true_text_before():
    filler = filler_of("p1000", causal=True)
    valid = Filler(filler.model, filler.tokenization, decoding="valid")
    records = records_of(VALUES[:1])
    found = valid.once(records, np.arange(5)).values
    encoding, first = filler.tokenization.encoding, len(filler.tokenization.language.vocabulary)
    for number, slot in enumerate(np.flatnonzero(records.token_ids == NUM)):
        ids, written = [], iter((encoding.encode(records.numbers) + first).tolist())
        for token in records.token_ids[:slot]:
            ids.extend(next(written) if token == NUM else [int(token)])
        own = []
        for low, high in encoding.slots:
            with torch.no_grad():
                logits = filler.model(torch.tensor([ids + own]), torch.ones(1, len(ids + own)))[0, -1]
            own.append(int(logits[first + low : first + high].argmax()) + first + low)
        assert found[number] == encoding.decode(np.array([own], dtype=np.int32) - first)[0]


def test_turns_hide_every_number_once_and_about_as_many_as_asked():
    values = [{"c": [float(place) for place in range(50)], "a": 1.0, "b": 2.0} for _ in range(20)]
    records = records_of(values)
    seeds = np.arange(20, dtype=np.uint64)
    passes = turns_of(records, seeds, groups=[["a", "b"]], share=0.25)
    for row in range(20):
        turns = passes[records.numbers_of(row)]
        names = [records.key_paths[key] for key in records.number_keys[records.numbers_of(row)]]
        assert {turn for turn, name in zip(turns, names, strict=True) if name in "ab"} == {0}
        rest = np.bincount(turns[[name == "c" for name in names]] - 1)
        assert sorted(rest) == [12, 12, 13, 13]
    single = turns_of(records, seeds, groups=[], share=None)
    assert all(sorted(single[records.numbers_of(row)]) == list(range(52)) for row in range(20))
    only = turns_of(records, seeds, groups=[], share=0.5, keys=["a"])
    assert (only >= 0).sum() == 20
    again = turns_of(records.select(np.arange(3, 7)), seeds[3:7], groups=[["a", "b"]], share=0.25)
    np.testing.assert_array_equal(again, passes[3 * 52 : 7 * 52])


@pytest.mark.parametrize("share", [None, 0.4])
def test_an_uncertainty_is_hidden_with_its_number(share):
    """It stayed where its number was hidden: `predict` does not know it, and scores were better than answers."""
    values = [{"m": 1.0, "m_error": 0.1, "n": 2.0, "o": 3.0, "p": 4.0} for _ in range(20)]
    values[3] = {"m": None, "m_error": 0.1, "n": 2.0, "o": 3.0, "p": 4.0}
    records = records_of(values)
    seeds = np.arange(20, dtype=np.uint64)
    names = np.array([records.key_paths[key] for key in records.number_keys])
    plain = turns_of(records, seeds, groups=[], share=share)
    found = turns_of(records, seeds, groups=[], share=share, errors={"m": "m_error"})
    others = names != "m_error"
    np.testing.assert_array_equal(found[others], plain[others])
    np.testing.assert_array_equal(np.delete(found[~others], 3), found[names == "m"])
    assert found[~others][3] == plain[~others][3]
    asked = turns_of(records, seeds, groups=[], share=share, keys=["n"], errors={"m": "m_error"})
    assert {*names[asked >= 0]} == {"n"}


def test_the_answer_is_the_mean_or_the_median_as_the_model_says():
    levels = {"quantiles": (0.1, 0.5, 0.9)}
    mean, median = (filler_of(answer=answer, **levels) for answer in ("mean", "median"))
    median.model.load_state_dict(mean.model.state_dict())
    records = records_of()
    hidden = np.ones(len(records.numbers), dtype=bool)
    found, other = mean.fill(records, hidden), median.fill(records, hidden)
    np.testing.assert_array_equal(other.values, found.quantiles[:, 1])
    assert not np.array_equal(found.values, other.values)


def test_a_median_needs_its_quantile():
    with pytest.raises(ValueError, match=r"answer: median needs 0\.5 among quantiles, found \[0\.1, 0\.9\]"):
        filler_of(answer="median", quantiles=(0.1, 0.9))
