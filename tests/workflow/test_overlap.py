"""Rows that were trained on are found in whatever store they are scored, and named by what the family calls them."""

from pathlib import Path

import pytest

from polycli.checkpoints.exported import ModelDescription
from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import StoreError
from polycli.json_records import to_object
from polycli.store.overlap import pack_hashes
from polycli.store.reader import Store, open_store
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows, check_overlap, warn_of_shared_validation
from tests.mpp.conftest import make_store


def checkpoint(**trained_on: TrainedOn) -> LoadedCheckpoint:
    description = ModelDescription(family="mpp", verb="pretrain", version="0", step=1, model={}, trained_on=trained_on)
    return LoadedCheckpoint(
        model_file=Path("model.safetensors"),
        selected_by="as given",
        model_hash="0",
        description=description,
        run=None,
    )


def trained(store: Store, rows, *, packed=False) -> TrainedOn:
    rows = store.row_hashes()[rows] if packed else [store.manifest.row_hashes[row] for row in rows]
    return TrainedOn(store_hash=store.manifest.store_hash, rows=pack_hashes(rows) if packed else rows)


@pytest.fixture
def store(tmp_path):
    return open_store(make_store(tmp_path, "waves"))


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_two_trainings_are_counted_once_and_one_is_named(store, packed):
    loaded = checkpoint(first=trained(store, [0, 2], packed=packed), second=trained(store, [2, 3], packed=packed))
    scored = [ScoredRows(store, store.rows()[1:4])]

    with pytest.raises(StoreError, match=r"trained on 2 of the 3 trajectories to be scored, such as 0002, in first"):
        check_overlap(scored, loaded, rows_are="trajectories", allow=False)
    seen = check_overlap(scored, loaded, rows_are="trajectories", allow=True)
    assert to_object(seen.document("trajectories")) == {"checked": True, "trajectories": 2, "allowed": True}


def test_a_checkpoint_that_says_nothing_is_not_taken_for_one_that_saw_nothing(store, capsys):
    seen = check_overlap([ScoredRows(store, store.rows())], checkpoint(), rows_are="records", allow=False)

    assert to_object(seen.document("records")) == {"checked": False, "records": None, "allowed": False}
    assert "does not say what it was trained on" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("splits", "split", "warned"),
    [
        (("train", "train", "test"), "test", True),
        (("train", "train", "test"), "validation", False),
        (("train", "validation", "test"), "test", False),
    ],
)
def test_test_rows_that_also_validated_are_pointed_out(tmp_path, capsys, splits, split, warned):
    store = open_store(make_store(tmp_path, "waves", splits=splits))
    loaded = checkpoint(waves=trained(store, [0]))

    warn_of_shared_validation([ScoredRows(store, store.rows(split))], loaded, split, rows_are="objects")
    said = "its test objects also validated the training" in " ".join(capsys.readouterr().err.split())
    assert said is warned
