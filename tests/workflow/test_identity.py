"""Rows are known again in stores of other strides and modalities, and by ids that users gave."""

from itertools import count

import numpy as np
import pytest

from polycli.errors import CheckpointError
from polycli.store.hashing import row_hashes
from polycli.store.overlap import prefixes
from polycli.workflow import identity
from polycli.workflow.identity import Identities, KnownRows, frame_numbers, part_numbers, strides_tell

SEEDS = count()


def frames(seed=0, length=9, grid=(32, 48)):
    return np.random.default_rng(seed).standard_normal((length, 2, *grid)).astype(np.float32)


def rows_of(**parts):
    values = {name: np.array(numbers, np.uint64) for name, numbers in parts.items()}
    rows = len(next(iter(values.values())))
    whole = np.random.default_rng(next(SEEDS)).integers(1 << 62, 1 << 63, rows, dtype=np.uint64)
    return Identities(whole, {name: numbers.reshape(rows, -1) for name, numbers in values.items()}, None)


def seen_again(one, other):
    """Whether two grids of the same frames share a view: numbers of the same frame that agree."""
    return all(set(a) & set(b) for a, b in zip(frame_numbers(one), frame_numbers(other), strict=True))


def test_a_frame_has_the_same_first_number_whichever_sixteenths_a_store_keeps():
    whole = frames()
    assert frame_numbers(whole[::2]) == frame_numbers(whole)[::2]
    halved = frames(grid=(64, 96))
    first = [views[0] for views in frame_numbers(halved)]
    assert [views[0] for views in frame_numbers(halved[:, :, ::2, ::2])] == first
    assert len(set(first)) == 9


@pytest.mark.parametrize("grid", [(100, 101), (64, 96), (129, 90), (120, 1)])
@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 3), (2, 3), (4, 6), (1, 7), (8, 1)])
def test_frames_of_any_grid_are_known_again_through_other_strides(grid, one, other):
    whole = frames(length=3, grid=grid)
    a, b = whole[..., ::one, ::one], whole[..., ::other, ::other]
    assert seen_again(a, b) == seen_again(b, a) == (min(n for n in grid if n > 1) / np.lcm(one, other) > 7)
    assert not seen_again(a, frames(seed=1, length=3, grid=grid)[..., ::other, ::other])


def test_views_with_few_points_tell_nothing_of_their_own():
    whole = frames(grid=(24, 10))
    changed = whole.copy()
    changed[:, :, 1, 1] += 1
    assert not {n for views in frame_numbers(whole) for n in views} & {
        n for views in frame_numbers(changed) for n in views
    }
    assert strides_tell((8, 1), 8)
    assert not strides_tell((7, 64), 2)
    assert not strides_tell((64, 64), 9)


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
    said = rows_of(frames=numbers)
    known = KnownRows.of_training((), said.packed_parts(), said.packed_ids())
    assert len(known.content) == 20
    assert known.content_of(rows_of(frames=numbers)).all()


def test_ids_are_compared_where_users_gave_them_on_both_sides():
    given = Identities(np.array([1, 2], np.uint64), {}, np.array([7, 8], np.uint64))
    made = Identities(np.array([3, 4], np.uint64), {}, None)
    known = KnownRows.of_training((), given.packed_parts(), given.packed_ids())
    again = Identities(np.array([5, 6], np.uint64), {}, np.array([8, 9], np.uint64))
    assert known.ids_of(again).tolist() == [True, False]
    assert known.content_of(again).tolist() == [False, False]
    assert known.ids_of(made).tolist() == [False, False]
    assert made.packed_ids() is None


def test_hashes_that_cannot_be_read_are_said():
    with pytest.raises(CheckpointError, match="the hashes of the rows that were trained on cannot be read"):
        KnownRows.of_training("", {"image": "no base64!"})
