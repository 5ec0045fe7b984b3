"""What is hidden depends on the record's seed alone, occurs as often as asked for, and can be counted beforehand."""

import numpy as np
import pytest

from polycli.xval.recipe.model import ObjectiveSection
from polycli.xval.records.records import Records
from polycli.xval.records.structure import NUM
from polycli.xval.training.masking import Masking, record_seeds

KEYS = ("a", "planet0.a", "planet1.a", "planet0.m")


def make_records(rows: int = 50, seed: int = 0) -> Records:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 60, rows)
    tokens = generator.integers(4, 40, lengths.sum()).astype(np.int32)
    tokens[generator.random(len(tokens)) < 0.4] = NUM
    token_offsets = np.concatenate([[0], np.cumsum(lengths)])
    owner = np.repeat(np.arange(rows), lengths)
    number_lengths = np.bincount(owner[tokens == NUM], minlength=rows)
    count = int(number_lengths.sum())
    return Records(
        token_ids=tokens,
        token_offsets=token_offsets,
        numbers=generator.standard_normal(count),
        number_offsets=np.concatenate([[0], np.cumsum(number_lengths)]),
        number_keys=generator.integers(0, len(KEYS), count).astype(np.int32),
        number_integers=np.zeros(count, dtype=bool),
        key_paths=KEYS,
    )


def seeds_of(rows: int, *, seed: int = 3, passes: int = 0) -> np.ndarray:
    return record_seeds(seed, "store", np.arange(rows), passes)


def test_the_share_that_is_hidden_is_the_probability():
    records = make_records(rows=4000)
    hidden = Masking(ObjectiveSection(mask_probability=0.3), KEYS).draw(records, seeds_of(4000))
    is_number = records.token_ids == NUM
    for kind in (is_number, ~is_number):
        # Three standard errors of a share of 0.3.
        assert hidden[kind].mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / kind.sum()))


def test_what_is_hidden_of_a_record_depends_on_nothing_but_its_seed():
    records, masking = make_records(), Masking(ObjectiveSection(), KEYS)
    seeds = seeds_of(len(records))
    whole = masking.draw(records, seeds)
    order = np.random.default_rng(1).permutation(len(records))
    for place in order[:10]:
        alone = masking.draw(records.select([place]), seeds[[place]])
        expected = whole[records.token_offsets[place] : records.token_offsets[place + 1]]
        np.testing.assert_array_equal(alone, expected)


@pytest.mark.parametrize("change", [{"seed": 4}, {"passes": 1}])
def test_other_seeds_and_passes_hide_other_tokens(change):
    records, masking = make_records(rows=300), Masking(ObjectiveSection(mask_probability=0.5), KEYS)
    one, other = masking.draw(records, seeds_of(300)), masking.draw(records, seeds_of(300, **change))
    # Independent draws agree half of the time.
    assert (one == other).mean() == pytest.approx(0.5, abs=0.02)


def test_what_is_hidden_can_be_counted_from_lengths_alone():
    records, masking = make_records(), Masking(ObjectiveSection(), KEYS)
    seeds = seeds_of(len(records))
    hidden = masking.draw(records, seeds)
    count = masking.count(records.token_lengths, records.number_lengths, seeds)
    assert count.tokens == hidden.sum()
    assert count.numbers == hidden[records.token_ids == NUM].sum()


def test_chosen_keys_alone_are_hidden():
    records = make_records()
    masking = Masking(ObjectiveSection(keys=("planet*.a",), mask_probability=1.0), KEYS)
    hidden = masking.draw(records, seeds_of(len(records)))
    assert not hidden[records.token_ids != NUM].any()
    np.testing.assert_array_equal(hidden[records.token_ids == NUM], np.isin(records.number_keys, [1, 2]))


def test_together_hides_all_numbers_of_a_pattern_or_none():
    records = make_records(rows=400)
    objective = ObjectiveSection(keys=("planet*.a", "*.m"), mask_probability=0.5, together=True)
    hidden = Masking(objective, KEYS).draw(records, seeds_of(400))[records.token_ids == NUM]
    group = np.array([-1, 0, 0, 1])[records.number_keys]
    assert not hidden[group == -1].any()
    shares = []
    for row in range(len(records)):
        part = records.numbers_of(row)
        for which in (0, 1):
            mine = hidden[part][group[part] == which]
            if len(mine):
                shares.append(mine.mean())
    assert set(shares) == {0.0, 1.0}
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
