"""Classes that are hidden whole: one [MASK] for all that follows a fork, whatever its length, and quotes in pairs."""

import numpy as np

from polycli.xval.records.classes import columns_of
from polycli.xval.records.encode import RecordEncoder
from polycli.xval.records.structure import MASK, NUM, QUOTE, spelled, token_text
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.training.blanks import blank_classes

CLASSES = {"kind": ("ant", "antelope", "bee"), "flag": (True, False)}


def blanked(values, probability=1.0, seed=0, **options):
    encoder = RecordEncoder()
    for value in values:
        encoder.add(value, id="")
    records = encoder.records()
    columns = columns_of(CLASSES, Vocabulary(encoder.keys))
    seeds = np.arange(len(records), dtype=np.uint64) + np.uint64(seed * 1000)
    return records, blank_classes(records, columns, seeds, probability, **options), Vocabulary(encoder.keys)


def seen(found, row):
    """The tokens of a record as the model sees them, and what it is to say of those that are hidden."""
    place = slice(found.records.token_offsets[row], found.records.token_offsets[row + 1])
    ids, hidden = found.records.token_ids[place], found.settle(np.zeros_like(found.hidden))[place]
    return token_text(np.where(hidden, MASK, ids).astype(np.int32)), token_text(ids[hidden])


def test_what_follows_a_fork_is_one_mask_and_the_target_is_the_next_token():
    values = [{"kind": kind, "x": 1.5, "flag": True} for kind in CLASSES["kind"]] * 100
    records, found, vocabulary = blanked(values)
    mask = chr(MASK)
    key = chr(vocabulary.key_ids["kind"])
    forms = {kind: set() for kind in CLASSES["kind"]}
    for row, value in enumerate(values):
        text, targets = seen(found, row)
        assert text.count(QUOTE) == 2
        start = text.index(key) + 1
        forms[value["kind"]].add((text[start : text.rindex(QUOTE) + 1], targets[0]))
    root = QUOTE + mask + QUOTE
    deeper = QUOTE + spelled("ant") + mask + QUOTE
    assert forms == {
        "ant": {(root, spelled("a")), (deeper, QUOTE)},
        "antelope": {(root, spelled("a")), (deeper, spelled("e"))},
        "bee": {(root, spelled("b"))},
    }
    assert (found.records.token_ids == NUM).sum() == (records.token_ids == NUM).sum()


def test_as_many_are_cut_as_asked_and_the_others_are_hidden_by_no_other_way_where_that_is_said():
    values = [{"kind": "bee", "x": 2}] * 2000
    _, found, _ = blanked(values, 0.3)
    assert abs(found.hidden.sum() - 600) < 100
    everything = np.ones_like(found.hidden)
    assert found.settle(everything).sum() > found.hidden.sum()
    _, strict, vocabulary = blanked(values, 0.3, others_shown=True)
    hidden = strict.settle(np.ones_like(strict.hidden))
    is_key = strict.records.token_ids == vocabulary.key_ids["kind"]
    behind = np.concatenate([[False, False], is_key[:-2]])  # the first letter
    assert hidden[behind].sum() == strict.hidden.sum()


def test_values_that_are_no_candidates_stay_as_they_are():
    records, found, _ = blanked([{"kind": "cat", "flag": "true"}] * 5)
    assert found.records.token_ids.tolist() == records.token_ids.tolist()
    assert not found.hidden.any()
