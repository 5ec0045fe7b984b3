"""Trajectories that were trained on are known again in stores that keep other frames and grid points of them."""

from pathlib import Path

import pytest

from polycli.checkpoints.exported import ModelDescription
from polycli.errors import StoreError
from polycli.json_records import to_object
from polycli.mpp import prepare
from polycli.requests import PrepareRequest
from polycli.store.reader import open_store
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows, check_overlap, trained_entry


@pytest.fixture
def stores(tmp_path, pdebench):
    """`stores(name, *overrides)` prepares the same eight trajectories; another seed has others."""

    def make(name: str, *overrides: str, seed: int = 0, points: int = 64):
        source = tmp_path / f"seed{seed}_{points}.h5"
        if not source.exists():
            pdebench.shallow_water(source, trajectories=8, frames=21, grid=(points, points), seed=seed)
        request = PrepareRequest(
            source="pdebench", inputs=(source,), output=tmp_path / name, overrides=overrides, workers=1, json=True
        )
        (store,) = prepare.run(request)["stores"]
        return open_store(Path(store["path"]))

    return make


def trained_on(store) -> LoadedCheckpoint:
    entry = trained_entry(store, store.rows("train"), listed=True)
    description = ModelDescription(
        family="mpp", verb="pretrain", version="0", step=1, model={}, trained_on={"swe": entry}
    )
    return LoadedCheckpoint(
        model_file=Path("m.safetensors"), selected_by="as given", model_hash="0", description=description, run=None
    )


@pytest.mark.parametrize(
    "strides",
    [
        ("select.time_stride=2",),
        ("select.space_stride=2",),
        ("select.time_stride=3", "select.space_stride=4", "select.first_frame=6"),
    ],
)
@pytest.mark.parametrize("points", [64, 50])
def test_every_stride_of_a_trajectory_is_that_trajectory(stores, strides, points):
    whole, thinned = stores("whole", points=points), stores("thinned", *strides, points=points)
    for trained, scored in ((whole, thinned), (thinned, whole)):
        rows = [ScoredRows(scored, scored.rows())]
        seen = check_overlap(rows, trained_on(trained), rows_are="trajectories", allow=True)
        assert seen.count == trained.manifest.splits["train"] < 8
        with pytest.raises(StoreError, match=f"trained on {seen.count} of the 8 trajectories"):
            check_overlap(rows, trained_on(trained), rows_are="trajectories", allow=False)


def test_other_trajectories_of_the_same_names_are_others(stores):
    """PDEBench names trajectories by number, so names say nothing."""
    first, second = stores("first"), stores("second", seed=50)
    assert first.manifest.row_ids == second.manifest.row_ids
    rows = [ScoredRows(second, second.rows())]
    seen = check_overlap(rows, trained_on(first), rows_are="trajectories", allow=False)
    assert to_object(seen.document("trajectories")) == {
        "checked": True,
        "trajectories": 0,
        "allowed": False,
    }


def test_prepare_says_where_strides_hide_which_trajectories_they_are(stores, capsys):
    stores("thinned", "select.space_stride=9")
    assert "select.space_stride 9 leaves 8x8 points: eval will not know" in capsys.readouterr().err
    stores("halved", "select.space_stride=2")
    assert "will not know" not in capsys.readouterr().err
