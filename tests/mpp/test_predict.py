"""`polycli predict mpp`: the same frames as eval's rollouts, from stores, PDEBench files and arrays."""

import json
import sys

import h5py
import numpy as np
import pytest
import torch
import zarr

from polycli.__main__ import run as command_line
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import PolycliError, SourceError, StoreError, UserError
from polycli.inspection import inspect_path
from polycli.mpp import eval as evaluation
from polycli.mpp import predict
from polycli.mpp.data.well_export import export_well
from polycli.mpp.model.avit import AViT
from polycli.mpp.predicting import inputs
from polycli.mpp.recipe.training import ModelSection
from polycli.requests import EvalRequest, PredictRequest
from polycli.store.reader import Window, open_store

HISTORY = 3
SECTION = ModelSection(embed_dim=16, num_heads=2, blocks=1, patch_size=4, predicts="change", drop_path=0.0)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    torch.manual_seed(0)
    model = AViT(SECTION).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    said = {"model": SECTION.model_dump(mode="json"), "data": {"history": HISTORY, "time_stride": 1}}
    write_model(
        folder, model.state_dict(), ModelDescription(family="mpp", verb="pretrain", version="0", step=1, **said)
    )
    return model


def forecast(tmp_path, *data, output="out.zarr", overrides=(), **options):
    request = PredictRequest(
        checkpoint=tmp_path / "model" / "model.safetensors",
        data=data,
        output=tmp_path / output,
        overrides=overrides,
        json=True,
        **options,
    )
    return predict.run(request)


def by_hand(model, context, labels, steps, periodic=True):
    """(steps, C, H, W) by feeding the model its own frames."""
    frames = list(np.asarray(context, dtype=np.float32))
    flags = torch.full((1, 2), int(periodic))
    for _ in range(steps):
        with torch.inference_mode():
            seen = torch.tensor(np.stack(frames[-HISTORY:]))[None]
            frames.append(model(seen, torch.tensor(labels), flags)[0].numpy())
    return np.stack(frames[HISTORY:])


def frames_of(path, row, start, length):
    return open_store(path).read_windows("fields", [Window(row, start, length)])[0]


def test_forecasts_need_no_drawing_library(tmp_path, model, store_factory, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        # An import of it raises, as where it is not installed.
        monkeypatch.setitem(sys.modules, name, None)
    path = store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=("train", "test"), frames=9)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert forecast(tmp_path, path, overrides=("steps=2",))["datasets"]


def test_a_held_back_trajectory_gives_bit_for_bit_the_frames_of_evals_rollout(tmp_path, model, store_factory):
    path = store_factory(
        "dr", physics="diffusion_reaction", boundary="wall", splits=("train", *("test",) * 3), frames=9
    )
    evaluation.run(
        EvalRequest(
            checkpoint=tmp_path / "model",
            data=(path,),
            output=tmp_path / "eval",
            overrides=("save_rollouts=true", "report=false", "bootstrap_samples=10"),
            json=True,
        )
    )
    rolled = zarr.open_group(tmp_path / "eval" / "rollouts" / "dr.zarr", mode="r")
    # One trajectory alone, and all of them: neither the neighbours nor their number may change a bit.
    for limit, count in ((1, 1), (None, 3)):
        output = f"out{count}.zarr"
        forecast(tmp_path, path, output=output, split="test", limit=limit, overrides=("steps=6", "from_frame=0"))
        found = zarr.open_group(tmp_path / output, mode="r")
        assert found["fields"].shape == (count, 6, 2, 16, 16)
        np.testing.assert_array_equal(found["fields"][:], rolled["fields"][:count])
        np.testing.assert_allclose(found["time"][:], rolled["time"][:])
        assert found.attrs["trajectories"] == ["0001", "0002", "0003"][:count]
    np.testing.assert_allclose(
        rolled["fields"][2], by_hand(model, frames_of(path, 3, 0, 3), [4, 5], 6, periodic=False), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_the_last_frames_of_a_store_are_continued_with_coordinates_and_provenance(
    tmp_path, model, store_factory, suffix
):
    path = store_factory("swe", splits=("train", "test"), frames=8)
    document = forecast(tmp_path, path, output=f"out.{suffix}", overrides=("steps=4", "data.time_stride=2"))
    opened = zarr.open_group(tmp_path / "out.zarr", mode="r") if suffix == "zarr" else h5py.File(tmp_path / "out.h5")
    context = frames_of(path, 1, 3, 5)[::2]  # Frames 3, 5, 7: the last ones, two apart.
    np.testing.assert_allclose(opened["fields"][1], by_hand(model, context, [0], 4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(opened["time"][:], 0.7 + 0.2 * np.arange(1, 5))
    np.testing.assert_allclose(opened["x"][:], (np.arange(16) + 0.5) / 16)
    assert list(opened.attrs["field_names"]) == ["shallow_water.height"]
    assert opened.attrs["interval"] == pytest.approx(0.2)
    assert opened.attrs["checkpoint"] == str(tmp_path / "model" / "model.safetensors")
    assert opened.attrs["store_hash"] == open_store(path).manifest.store_hash
    assert len(opened.attrs["model_hash"]) == 64
    names = opened.attrs["trajectories"] if suffix == "zarr" else [name.decode() for name in opened["trajectory"][:]]
    assert names == ["0000", "0001"]
    assert document["datasets"]["swe"]["context_frames"] == [3, 7]
    if suffix == "h5":
        assert [dimension.label for dimension in opened["fields"].dims] == ["trajectory", "time", "field", "x", "y"]
        assert opened["fields"].dims[3].keys() == ["x"]
        opened.close()


@pytest.mark.parametrize("layout", ["npy", "npy of one trajectory", "hdf5"])
def test_array_files_are_forecast_by_the_names_that_are_given(tmp_path, model, layout):
    data = np.random.default_rng(0).normal(size=(2, 5, 2, 16, 8)).cumsum(axis=1)
    if layout == "hdf5":
        file = tmp_path / "data.h5"
        with h5py.File(file, "w") as opened:
            opened["fields"] = data
            opened["time"] = 10.0 + 0.5 * np.arange(5)
    else:
        file = tmp_path / "data.npy"
        np.save(file, data if layout == "npy" else data[0])
    fields = "fields=[diffusion_reaction.inhibitor, diffusion_reaction.activator]"
    settings = (fields, "boundary={x: periodic, y: wall}", "dt=0.5", "steps=3", "rollout_batch_size=2")
    forecast(tmp_path, file, overrides=settings)
    found = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert found["fields"].shape == (1 if "one" in layout else 2, 3, 2, 16, 8)
    flags = torch.tensor([[0, 1]])  # Along W, which is y: wall; along H, which is x: periodic.
    with torch.inference_mode():
        first = model(torch.tensor(data[:1, 2:], dtype=torch.float32), torch.tensor([5, 4]), flags)
    np.testing.assert_allclose(found["fields"][0, 0], first[0].numpy(), rtol=1e-4, atol=1e-5)
    start = 12.0 if layout == "hdf5" else 2.0
    np.testing.assert_allclose(found["time"][:], start + 0.5 * np.arange(1, 4))


OWN = (
    "arrays.fields=[diffusion_reaction.activator, diffusion_reaction.inhibitor]",
    "arrays.boundary={x: wall, y: wall}",
)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".nc", ".npy"])
def test_the_keys_of_prepare_describe_arrays_in_any_order_and_their_times(tmp_path, model, suffix):
    data = np.random.default_rng(0).normal(size=(2, 5, 2, 16, 8)).cumsum(axis=1)
    file, times = tmp_path / f"own{suffix}", 3 + 0.25 * np.arange(5)
    mixed = data.transpose(4, 1, 0, 3, 2)
    if suffix == ".npy":
        np.save(file, mixed)
    elif suffix == ".npz":
        np.savez(file, waves=mixed, t=times)
    else:
        with h5py.File(file, "w") as opened:
            opened["run/waves"], opened["run/t"] = mixed, times
    settings = (*OWN, "arrays.axes=[y, time, trajectory, x, field]", "steps=2", "dataset.name=mine")
    settings += ("arrays.dt=0.25",) if suffix == ".npy" else ()
    (name,) = forecast(tmp_path, file, overrides=settings)["datasets"]
    assert name == "mine"
    found = zarr.open_group(tmp_path / "out.zarr", mode="r")
    expected = by_hand(model, data[1, 2:], [4, 5], 2, periodic=False)
    np.testing.assert_allclose(found["fields"][1], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["time"][:], (1 if suffix == ".npy" else 4) + 0.25 * np.arange(1, 3))
    assert found.attrs["interval"] == 0.25


@pytest.mark.parametrize(
    ("times", "settings", "sentence"),
    [
        (np.arange(6)[::-1] * 0.1, (), "do not increase after frame 0: 0.5, then 0.4"),
        (np.logspace(-2, 0, 6), (), "are uneven"),
        (np.arange(6) * 0.1, ("dt=0.5",), "its times are 0.1 apart, arrays.dt says 0.5"),
        (np.arange(6) * 0.1, ("arrays.dt=0.5",), "its times are 0.1 apart, arrays.dt says 0.5"),
    ],
)
def test_times_of_an_array_file_are_not_ignored(tmp_path, model, times, settings, sentence):
    """They were: forecasts of falling and uneven frames had even times."""
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["fields"] = np.ones((2, 6, 1, 16, 16))
        file["time"] = times
    known = ("fields=[shallow_water.height]", "boundary={x: wall, y: wall}")
    with pytest.raises(SourceError, match=sentence):
        forecast(tmp_path, tmp_path / "own.h5", overrides=(*known, *settings))


@pytest.mark.parametrize("kind", ["npz", "pdebench"])
def test_only_the_frames_of_the_context_are_read_of_a_file(tmp_path, model, pdebench, monkeypatch, kind):
    """Of trajectories of a thousand frames, all were read for the last ones."""
    whole = []
    pick = inputs._pick
    monkeypatch.setattr(
        inputs, "_pick", lambda blocks, wanted: pick(iter(whole.append(list(blocks)) or whole[-1]), wanted)
    )
    if kind == "npz":
        data = np.random.default_rng(0).normal(size=(2, 40, 16, 16)).astype(np.float32)
        np.savez(tmp_path / "own.npz", data=data)
        said = ("arrays.axes=[trajectory, time, x, y]", "arrays.fields=[shallow_water.height]", "arrays.dt=0.1")
        settings = (*said, "arrays.boundary={x: open, y: open}")
        forecast(tmp_path, tmp_path / "own.npz", overrides=("steps=1", *settings))
    else:
        data = pdebench.shallow_water(tmp_path / "own.h5", trajectories=2, frames=40, grid=(16, 16))
        data = np.stack(list(data))[..., 0]
        forecast(tmp_path, tmp_path / "own.h5", overrides=("steps=1",))
    np.testing.assert_array_equal(np.concatenate(whole[1])[:, 0], data[1, -HISTORY:])


def test_the_older_name_of_a_key_and_the_key_together_are_refused(tmp_path, model):
    np.save(tmp_path / "own.npy", np.ones((6, 1, 16, 16)))
    both = ("fields=[shallow_water.height]", "arrays.fields=[shallow_water.height]", "boundary={x: wall, y: wall}")
    with pytest.raises(UserError, match=r"fields is an older name of arrays.fields, and both are given"):
        forecast(tmp_path, tmp_path / "own.npy", overrides=both)


def test_an_array_whose_axes_nobody_said_is_refused_with_a_line_to_paste(tmp_path, model):
    np.savez(tmp_path / "own.npz", h=np.ones((6, 12, 16)))
    with pytest.raises(UserError, match=r"the axes of 'h' .* are not said") as caught:
        forecast(tmp_path, tmp_path / "own.npz")
    assert "--set 'arrays.axes=[time|x|y, time|x|y, time|x|y]' --set 'arrays.fields=[my.h]'" in caught.value.hint


def test_fields_that_the_checkpoint_knows_are_proposed_by_their_names(tmp_path, model):
    """Proposed was `my.Height`, which the checkpoint refuses."""
    np.savez(tmp_path / "own.npz", Height=np.ones((6, 12, 16)), other=np.ones((6, 12, 16)))
    with pytest.raises(
        UserError, match=r"which of the checkpoint's fields 'other' is \(.*shallow_water\.height"
    ) as caught:
        forecast(tmp_path, tmp_path / "own.npz")
    assert "--set 'arrays.fields={shallow_water.height: Height, my.other: other}'" in caught.value.hint
    with pytest.raises(UserError) as caught:
        forecast(tmp_path, tmp_path / "own.npz", overrides=("arrays.array=Height",))
    assert "arrays.fields=[shallow_water.height]" in caught.value.hint
    assert "which of the checkpoint's fields" not in caught.value.message


def test_a_pdebench_file_is_continued(tmp_path, model):
    data = np.random.default_rng(0).normal(size=(2, 6, 16, 16, 2)).cumsum(axis=1).astype(np.float32)
    with h5py.File(tmp_path / "2D_diff-react_NA_NA.h5", "w") as file:
        for row, trajectory in enumerate(data):
            file[f"{row:04d}/data"] = trajectory
            for axis in ("x", "y"):
                file[f"{row:04d}/grid/{axis}"] = (np.arange(16, dtype=np.float32) + 0.5) / 8 - 1
            file[f"{row:04d}/grid/t"] = np.linspace(0, 5, 6, dtype=np.float32)
    document = forecast(tmp_path, tmp_path / "2D_diff-react_NA_NA.h5", overrides=("steps=2",))
    (name,) = document["datasets"]
    assert document["datasets"][name]["trajectories"] == 2
    found = zarr.open_group(tmp_path / "out.zarr", mode="r")
    context = data[1, 3:].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(
        found["fields"][1], by_hand(model, context, [4, 5], 2, periodic=False), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(found["time"][:], [6.0, 7.0], rtol=1e-6)


def test_a_file_of_the_well_is_found_by_its_content_and_continued_as_the_store_that_it_came_from(
    tmp_path, model, store_factory
):
    path = store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=("train", "test"))
    export_well(path, tmp_path / "well")
    forecast(tmp_path, path, split="test", overrides=("steps=2",))
    file = tmp_path / "well/data/test/dr.hdf5"
    forecast(tmp_path, file, output="well.zarr", overrides=("steps=2", "data.history=3"))
    store, well = (zarr.open_group(tmp_path / name, mode="r") for name in ("out.zarr", "well.zarr"))
    np.testing.assert_array_equal(well["fields"][:], store["fields"][:])
    np.testing.assert_allclose(well["time"][:], store["time"][:], rtol=1e-6)
    # A name that the model does not know is refused, and one that it knows can be given to a field.
    with h5py.File(file, "r+") as changed:
        del changed["t0_fields/activator"].attrs["polycli_fields"]
    with pytest.raises(UserError, match=r"dr\.activator"):
        forecast(tmp_path, file, output="other.zarr")
    name = "well.fields={activator: diffusion_reaction.activator}"
    forecast(tmp_path, file, output="named.zarr", overrides=("steps=2", name))
    named = zarr.open_group(tmp_path / "named.zarr", mode="r")
    np.testing.assert_array_equal(named["fields"][:], store["fields"][:])


def test_several_datasets_stand_in_groups_of_their_names(tmp_path, model, store_factory):
    store_factory("swe", splits=("train", "test"))
    path = store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=("test",))
    forecast(tmp_path, path.parent, output="out.h5", overrides=("steps=2",))
    with h5py.File(tmp_path / "out.h5") as opened:
        assert {name: opened[name]["fields"].shape for name in opened} == {
            "dr": (1, 2, 2, 16, 16),
            "swe": (2, 2, 1, 16, 16),
        }


def test_trajectories_are_read_one_after_another_as_their_forecasts_are_written(
    tmp_path, model, store_factory, monkeypatch
):
    path = store_factory("swe", splits=("train", *("test",) * 5))
    order = []
    read, roll = inputs.StoreContexts.contexts, predict.rollout_with_spread

    def reading(self, reach):
        for context in read(self, reach):
            order.append("read")
            yield context

    monkeypatch.setattr(inputs.StoreContexts, "contexts", reading)
    monkeypatch.setattr(predict, "rollout_with_spread", lambda *a, **k: order.append("roll") or roll(*a, **k))
    forecast(tmp_path, path, overrides=("steps=1", "rollout_batch_size=2"))
    assert order == ["read", "read", "roll"] * 3


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test"), frames=4)
    file = tmp_path / "data.npy"
    np.save(file, np.ones((4, 1, 16, 16)))
    holed = tmp_path / "holed.npy"
    values = np.ones((2, 4, 1, 16, 16))
    values[1, 3, 0, 0, 0] = np.nan
    np.save(holed, values)
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with h5py.File(tmp_path / "words.h5", "w") as words:
        words["fields"] = np.full((4, 1, 16, 16), b"word")
    with h5py.File(tmp_path / "cut.h5", "w") as cut:
        cut["fields"] = np.ones((2, 4, 1, 16, 16))
    (tmp_path / "cut.h5").write_bytes((tmp_path / "cut.h5").read_bytes()[:6000])
    known = ("fields=[shallow_water.height]", "boundary={x: wall, y: wall}")
    cases = [
        (path, ("data.history=5",), {}, "4 frames, history 5 at time_stride 1 needs 5"),
        (path, ("from_frame=2",), {}, "needs 3 from frame 2 on"),
        (path, ("step=2",), {}, "step"),
        (path, (), {"output": "out.csv"}, "the suffix says the format"),
        (path, (), {"output": "data.npy/out.h5"}, "data.npy is a file, and forecasts need a folder"),
        (file, (), {}, "1 field, and 0 names were given"),
        (file, known[:1], {}, "does not say its boundary conditions"),
        (file, known, {"split": "test"}, "is not a store and has no splits"),
        (file, ("fields=[shallow_water.depth]", known[1]), {}, "does not know the field shallow_water.depth"),
        (holed, known, {}, "trajectory 0001 holds values that are not finite"),
        (tmp_path / "text.npy", known, {}, "text.npy: cannot be read, truncated or damaged perhaps"),
        (tmp_path / "objects.npy", known, {}, "objects.npy: cannot be read, truncated or damaged perhaps"),
        (tmp_path / "words.h5", known, {}, "words.h5: the array 'fields' holds .*, real numbers were expected"),
        (tmp_path / "cut.h5", known, {}, "cut.h5: the HDF5 file is truncated or damaged"),
    ]
    before = sorted(p.name for p in tmp_path.iterdir())
    for data, overrides, options, sentence in cases:
        with pytest.raises(UserError, match=sentence) as caught:
            forecast(tmp_path, data, overrides=overrides, **options)
        assert caught.value.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_output_is_replaced_only_when_asked(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("train", "test"))
    forecast(tmp_path, path, overrides=("steps=1",))
    with pytest.raises(UserError, match="exists already"):
        forecast(tmp_path, path, overrides=("steps=2",))
    forecast(tmp_path, path, overrides=("steps=2", "overwrite=true"))
    assert zarr.open_group(tmp_path / "out.zarr", mode="r")["fields"].shape[1] == 2
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("output", ["run", "stores", "stores/swe.zarr", "run.zarr", "mine.h5", "notes.zarr"])
def test_overwrite_deletes_no_run_no_store_and_nothing_of_the_user(tmp_path, model, store_factory, output):
    path = store_factory("swe", splits=("train", "test"))
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / "run.zarr" / "recipe.yaml").write_text("family: mpp")
    (tmp_path / "notes.zarr").mkdir()
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["fields"] = np.ones(3)
    before = {entry: entry.read_bytes() for entry in tmp_path.rglob("*") if entry.is_file()}
    with pytest.raises(UserError):
        forecast(tmp_path, path, output=output, overrides=("steps=1", "overwrite=true"))
    assert {entry: entry.read_bytes() for entry in tmp_path.rglob("*") if entry.is_file()} == before
    assert (tmp_path / "notes.zarr").is_dir()


def test_what_a_user_has_put_into_a_forecast_is_not_deleted_with_it(tmp_path, model, store_factory):
    path = store_factory("swe", splits=("test",))
    forecast(tmp_path, path, overrides=("steps=1",))
    (tmp_path / "out.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"also holds notes.txt, which polycli did not write"):
        forecast(tmp_path, path, overrides=("steps=1", "overwrite=true"))
    assert (tmp_path / "out.zarr" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("output", ["out.h5", "out.zarr"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, model, store_factory, full_disk, output):
    """HDF5 ended the process with a segmentation fault."""
    path = store_factory("swe", splits=("test",) * 6)
    before = sorted(tmp_path.iterdir())
    with full_disk(1500), pytest.raises(PolycliError, match=f"{output}: forecasts cannot be written: File too large"):
        forecast(tmp_path, path, output=output, overrides=("steps=4",))
    assert sorted(tmp_path.iterdir()) == before
    forecast(tmp_path, path, output=output, overrides=("steps=4",))


def test_forecasts_of_several_datasets_are_replaced_too(tmp_path, model, store_factory):
    store_factory("swe", splits=("test",))
    path = store_factory("dr", physics="diffusion_reaction", boundary="wall", splits=("test",))
    for output in ("out.h5", "out.zarr"):
        forecast(tmp_path, path.parent, output=output, overrides=("steps=1",))
        forecast(tmp_path, path.parent, output=output, overrides=("steps=2", "overwrite=true"))
    assert zarr.open_group(tmp_path / "out.zarr", mode="r")["dr/fields"].shape[1] == 2


def test_two_array_files_of_one_name_are_refused(tmp_path, model):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "data.npy", np.ones((4, 1, 16, 16)))
    settings = ("fields=[shallow_water.height]", "boundary={x: wall, y: wall}")
    with pytest.raises(UserError, match="two of the data sets are called data"):
        forecast(tmp_path, tmp_path / "a" / "data.npy", tmp_path / "b" / "data.npy", overrides=settings)


def test_the_command_line_writes_and_says_where(tmp_path, model, store_factory, capsys):
    path = store_factory("swe", splits=("train", "test"))
    line = ["predict", "mpp", "--checkpoint", str(tmp_path / "model"), "--data", str(path), "--set", "steps=2"]
    assert command_line([*line, "--output", str(tmp_path / "a.zarr")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.zarr")
    assert command_line([*line, "--output", str(tmp_path / "b.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["datasets"]["swe"]["steps"] == 2
    assert command_line([*line, "--output", str(tmp_path / "b.h5")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_source_file_that_is_none_is_refused(tmp_path, model):
    (tmp_path / "notes.h5").write_text("not HDF5")
    with pytest.raises(SourceError):
        forecast(tmp_path, tmp_path / "notes.h5")


SHELVES = """
    from polycli.mpp.sources.pdebench import PdebenchSource


    class Shelves(PdebenchSource):
        def accepts(self, path):
            return path.suffix == ".shelf"
"""


def test_a_source_of_an_installed_package_is_found_by_its_files(tmp_path, model, pdebench, package):
    package("shelves", {"shelves.py": SHELVES}, {"polycli.sources.mpp": {"shelves": "shelves:Shelves"}})
    pdebench.shallow_water(tmp_path / "a.shelf", trajectories=2, grid=(16, 16))
    (name,) = forecast(tmp_path, tmp_path / "a.shelf", overrides=("steps=1",))["datasets"]
    assert zarr.open_group(tmp_path / "out.zarr", mode="r")["fields"].shape == (2, 1, 1, 16, 16)
    assert name == "swe_16"


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
@pytest.mark.parametrize("datasets", [1, 2])
def test_verify_finds_any_changed_byte_of_forecasts(tmp_path, model, store_factory, suffix, datasets):
    stores = [store_factory(f"swe{number}", frames=5, seed=number) for number in range(datasets)]
    forecast(tmp_path, *stores, output=f"out.{suffix}", split="test", overrides=("steps=2",))
    target = tmp_path / f"out.{suffix}"
    assert any("every file has the hash" in line for line in inspect_path(target, verify=True).lines)
    files = [target] if target.is_file() else [file for file in sorted(target.rglob("*")) if file.is_file()]
    generator = np.random.default_rng(0)
    for file in files:
        content = file.read_bytes()
        for place in generator.integers(len(content), size=40 if target.is_file() else 3).tolist():
            file.write_bytes(content[:place] + bytes([content[place] ^ 32]) + content[place + 1 :])
            with pytest.raises(PolycliError, match="out"):
                inspect_path(target, verify=True)
        file.write_bytes(content)


def test_forecasts_of_before_are_read_to_their_end(tmp_path, model, store_factory):
    forecast(tmp_path, store_factory("swe", frames=5), output="out.h5", overrides=("steps=2",))
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        del file.attrs["schema_version"], file.attrs["polycli_sha256"]
        place = file["fields"].id.get_chunk_info(0).byte_offset
    assert any("no hash was written" in line for line in inspect_path(tmp_path / "out.h5", verify=True).lines)
    content = bytearray((tmp_path / "out.h5").read_bytes())
    content[place + 20] ^= 1
    (tmp_path / "out.h5").write_bytes(content)
    with pytest.raises(StoreError, match=r"out\.h5: damaged"):
        inspect_path(tmp_path / "out.h5", verify=True)
