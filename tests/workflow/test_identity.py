"""Rows are known again in stores of other strides and modalities, and by ids that users gave."""

from itertools import count

import numpy as np
import pytest

from polycli.errors import CheckpointError
from polycli.store.hashing import row_hashes
from polycli.store.overlap import prefixes
from polycli.workflow import identity
from polycli.workflow.identity import Identities, KnownRows, frame_numbers, part_numbers

SEEDS = count()


def frames(seed=0, length=9, grid=(32, 48)):
    return np.random.default_rng(seed).standard_normal((length, 2, *grid)).astype(np.float32)


def rows_of(**parts):
    values = {name: np.array(numbers, np.uint64) for name, numbers in parts.items()}
    rows = len(next(iter(values.values())))
    whole = np.random.default_rng(next(SEEDS)).integers(1 << 62, 1 << 63, rows, dtype=np.uint64)
    return Identities(whole, {name: numbers.reshape(rows, -1) for name, numbers in values.items()}, None)


def test_a_frame_has_one_number_whichever_grid_points_a_store_keeps():
    whole = frames()
    assert frame_numbers(whole[::2]) == frame_numbers(whole)[::2]
    halved = frames(grid=(64, 96))
    assert frame_numbers(halved[:, :, ::2, ::2]) == frame_numbers(halved)
    assert len(set(frame_numbers(whole))) == 9


def test_grids_that_have_no_sixteenths_are_hashed_whole():
    whole = frames(grid=(24, 10))
    changed = whole.copy()
    changed[:, :, 1, 1] += 1
    assert not set(frame_numbers(whole)) & set(frame_numbers(changed))


def test_a_modality_alone_has_the_number_of_the_same_modality_in_a_pair():
    images = frames(length=4)
    np.testing.assert_array_equal(part_numbers(images), prefixes(row_hashes([images])))
    np.testing.assert_array_equal(part_numbers(images[2:]), part_numbers(images)[2:])


def test_a_part_that_stands_once_in_a_row_tells_it_and_of_several_two_do():
    known = KnownRows.of([rows_of(image=[1, 2]), rows_of(frames=[[11, 12, 13], [21, 22, 23]])])
    assert known.content_of(rows_of(image=[2, 3])).tolist() == [True, False]
    begun_alike, every_second, at_rest = [11, 31, 32], [21, 23, 33], [12, 12, 12]
    assert known.content_of(rows_of(frames=[begun_alike, every_second, at_rest])).tolist() == [False, True, True]


def test_what_model_json_keeps_of_many_frames_is_bounded_and_still_tells(monkeypatch):
    monkeypatch.setattr(identity, "_MOST", 20)
    numbers = np.arange(400, dtype=np.uint64).reshape(4, 100)
    said = rows_of(frames=numbers).trained()
    known = KnownRows.of_training((), said["parts"], said["ids"])
    assert len(known.content) == 20
    assert known.content_of(rows_of(frames=numbers)).all()


def test_ids_are_compared_where_users_gave_them_on_both_sides():
    given = Identities(np.array([1, 2], np.uint64), {}, np.array([7, 8], np.uint64))
    made = Identities(np.array([3, 4], np.uint64), {}, None)
    said = given.trained()
    known = KnownRows.of_training((), said["parts"], said["ids"])
    again = Identities(np.array([5, 6], np.uint64), {}, np.array([8, 9], np.uint64))
    assert known.ids_of(again).tolist() == [True, False]
    assert known.content_of(again).tolist() == [False, False]
    assert known.ids_of(made).tolist() == [False, False]
    assert made.trained()["ids"] is None


def test_hashes_that_cannot_be_read_are_said():
    with pytest.raises(CheckpointError, match="the hashes of the rows that were trained on cannot be read"):
        KnownRows.of_training("", {"image": "no base64!"})
