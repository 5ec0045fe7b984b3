"""The Well's own package: its loader reads our exports with equal numbers, and we its files as its loader does.

Runs in an environment of its own, `make test-interop`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from polycli import __main__ as entry
from polycli.mpp.data.well_export import export_well
from polycli.mpp.prepare import run
from polycli.requests import PrepareRequest
from polycli.store.reader import Store, open_store
from tests.mpp.conftest import make_store
from tests.mpp.well_files import write_well

pytestmark = pytest.mark.interop
FLOW = ("ns.velocity_x", "ns.velocity_y", "ns.pressure", "ns.D_xx", "ns.D_xy", "ns.D_yx", "ns.D_yy")
HISTORY = 3
RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 16, num_heads: 2, blocks: 1, patch_size: 8, predicts: change, fields: [FIELDS]}
data: {history: 3, validation_windows: 4, workers: 1}
optim: {learning_rate: 1.0e-3}
train: {steps: 4, global_batch_size: 2, micro_batch_size: 2, validate_every: 4, checkpoint_every: 4}
"""


def loaded(folder: Path, split: str, **options):
    """The Well's dataset of a split."""
    from the_well.data import WellDataset

    return WellDataset(
        path=str(folder), well_split_name=split, n_steps_input=HISTORY, n_steps_output=1, return_grid=True, **options
    )


def prepared(source: Path, output: Path, *settings: str) -> Store:
    request = PrepareRequest(source="well", inputs=(source,), output=output, overrides=settings, workers=1)
    (made,) = run(request)["stores"]
    return open_store(Path(made["path"]), family="mpp", verify="full")


def names_of(dataset) -> list[str]:
    """The channels of a sample in their order."""
    return [name for order in range(3) for name in dataset.metadata.field_names[order]]


def in_their_order(store: Store, dataset, row: int) -> np.ndarray:
    """A row of a store as The Well has it, (time, x, y, channel)."""
    short = [name.partition(".")[2] for name in store.manifest.about["fields"]]
    return np.moveaxis(store.read_rows("fields", [row])[0][:, [short.index(name) for name in names_of(dataset)]], 1, -1)


@pytest.fixture
def flow(tmp_path) -> Store:
    splits = ("train", "test", "train", "validation")
    return open_store(
        make_store(tmp_path / "stores", "flow", physics="ns", fields=FLOW, splits=splits, boundary="wall")
    )


@pytest.mark.parametrize(("split", "rows"), [("train", (0, 2)), ("valid", (3,)), ("test", (1,))])
def test_their_loader_reads_every_window_of_an_export_with_equal_numbers(tmp_path, flow, split, rows):
    export_well(flow.path, tmp_path / "well")
    dataset = loaded(tmp_path / "well", split)
    assert names_of(dataset) == ["pressure", "velocity_x", "velocity_y", "D_xx", "D_xy", "D_yx", "D_yy"]
    wholes = [in_their_order(flow, dataset, row) for row in rows]
    windows = [(whole, start) for whole in wholes for start in range(len(whole) - HISTORY)]
    assert len(dataset) == len(windows)
    for sample, (whole, start) in zip((dataset[place] for place in range(len(dataset))), windows, strict=True):
        np.testing.assert_array_equal(sample["input_fields"].numpy(), whole[start : start + HISTORY])
        np.testing.assert_array_equal(sample["output_fields"].numpy(), whole[start + HISTORY : start + HISTORY + 1])
        # WALL is 0, OPEN 1, PERIODIC 2, at both ends of both axes.
        assert sample["boundary_conditions"].tolist() == [[0, 0], [0, 0]]
        np.testing.assert_allclose(sample["output_time_grid"] - sample["input_time_grid"][-1:], 0.1, rtol=1e-4)
    grid = dataset[0]["space_grid"].numpy()
    np.testing.assert_allclose(grid[:, 0, 0], (np.arange(16) + 0.5) / 16, rtol=1e-6)


def test_their_normalisation_takes_our_statistics(tmp_path, flow):
    from the_well.data.normalization import RMSNormalization, ZScoreNormalization

    export_well(flow.path, tmp_path / "well")
    training = flow.read_rows("fields", [0, 2]).astype(np.float64)
    plain = loaded(tmp_path / "well", "test")[0]["input_fields"].numpy()
    order = [FLOW.index(f"ns.{name}") for name in names_of(loaded(tmp_path / "well", "test"))]
    mean, std = training.mean(axis=(0, 1, 3, 4))[order], training.std(axis=(0, 1, 3, 4))[order]
    rms = np.sqrt(np.square(training).mean(axis=(0, 1, 3, 4)))[order]
    for kind, expected in ((ZScoreNormalization, (plain - mean) / std), (RMSNormalization, plain / rms)):
        sample = loaded(tmp_path / "well", "test", use_normalization=True, normalization_type=kind)[0]
        np.testing.assert_allclose(sample["input_fields"].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_we_read_a_file_as_their_loader_does(tmp_path):
    write_well(tmp_path / "well/data/train/waves.hdf5", rows=3, frames=6)
    store = prepared(tmp_path / "well", tmp_path / "stores", "well.constant_fields=leave_out")
    dataset = loaded(tmp_path / "well", "train")
    for place in range(len(dataset)):
        row, start = divmod(place, 6 - HISTORY)
        expected = in_their_order(store, dataset, row)[start : start + HISTORY]
        np.testing.assert_array_equal(dataset[place]["input_fields"].numpy(), expected)
    # PERIODIC along x, WALL along y.
    assert dataset[0]["boundary_conditions"].tolist() == [[2, 2], [0, 0]]
    assert store.manifest.about["boundary_conditions"] == {"x": "periodic", "y": "wall"}


def test_their_dummy_files_are_prepared_trained_on_and_evaluated(tmp_path, capsys):
    from the_well.utils.dummy_data import write_dummy_data

    for folder in ("train", "valid", "test"):
        (tmp_path / f"dummy/data/{folder}").mkdir(parents=True)
        write_dummy_data(str(tmp_path / f"dummy/data/{folder}/dummy.hdf5"))
    store = prepared(tmp_path / "dummy", tmp_path / "stores")
    dataset = loaded(tmp_path / "dummy", "train")
    short = [name.partition(".")[2] for name in store.manifest.about["fields"]]
    for name in ("field_x", "field_y"):
        found = store.read_rows("fields", [0])[0, :HISTORY, short.index(name)]
        np.testing.assert_array_equal(found, dataset[0]["input_fields"][..., names_of(dataset).index(name)].numpy())
    constant = store.read_rows("fields", [0])[0, :, short.index("constant_field")]
    np.testing.assert_array_equal(constant, np.repeat(dataset[0]["constant_fields"][None, ..., 0].numpy(), 10, axis=0))
    # Their masks are empty, so that their loader answers OPEN (1), whatever the type says.
    assert dataset[0]["boundary_conditions"].tolist() == [[1, 1], [1, 1]]
    assert store.manifest.about["boundary_conditions"] == {"x": "open", "y": "open"}
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE.replace("FIELDS", ", ".join(store.manifest.about["fields"])))
    trained = ["pretrain", "mpp", "--recipe", str(recipe), "--data", str(store.path), "--output", str(tmp_path / "run")]
    assert entry.run(trained) == 0
    capsys.readouterr()
    scored = ["eval", "mpp", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "report"), "--json"]
    assert entry.run([*scored, "--set", "report=false"]) == 0
    scores = json.loads(capsys.readouterr().out)["datasets"]["dummy_dataset"]
    assert np.isfinite(scores["one_step"]["vrmse"]["model"])
