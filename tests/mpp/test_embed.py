"""`polycli embed mpp`: vectors of windows and of their tokens, with ids, times and parameters."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import SourceError, StoreError, UserError
from polycli.mpp import embed
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection
from polycli.requests import EmbedRequest, SearchRequest
from polycli.search.find import run as search
from polycli.store.reader import Window, open_store

HISTORY = 3
SECTION = ModelSection(embed_dim=16, num_heads=2, blocks=2, patch_size=4, drop_path=0.0)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    model = AViT(SECTION).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    said = {"model": SECTION.model_dump(mode="json"), "data": {"history": HISTORY, "time_stride": 2}}
    (tmp_path / "model").mkdir()
    write_model(
        tmp_path / "model",
        model.state_dict(),
        ModelDescription(family="mpp", verb="pretrain", version="0", step=1, **said),
    )
    return model


def run(tmp_path, *data, output="e.parquet", overrides=(), **options):
    request = EmbedRequest(
        checkpoint=tmp_path / "model", data=data, output=tmp_path / output, overrides=overrides, json=True, **options
    )
    return embed.run(request)


def by_hand(model, store, row, start, labels):
    """What the head gets to see of a window: (patches along x, patches along y, width)."""
    frames = torch.tensor(open_store(store).read_windows("fields", [Window(row, start, HISTORY, 2)]))
    seen = []
    hook = model.debed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model(frames, torch.tensor(labels), torch.ones((1, 2), dtype=torch.long))
    hook.remove()
    return seen[0][0].numpy()


def vectors(table, name):
    found = table[name].combine_chunks()
    return found.flatten().to_numpy().reshape(len(found), -1)


def test_the_last_window_of_every_trajectory_has_the_mean_over_its_tokens(tmp_path, model, store_factory):
    store = store_factory("dr", physics="diffusion_reaction", frames=9)
    found = run(tmp_path, store, overrides=("batch_size=4",))
    table = parquet.read_table(tmp_path / "e.parquet")
    assert (found["rows"], found["family"], found["tables"]) == (6, "mpp", {})
    assert table["trajectory"].to_pylist() == ["0000", "0001", "0002", "0003", "0004", "0005"]
    assert table["split"].to_pylist() == ["train"] * 4 + ["validation", "test"]
    # Frames 4, 6 and 8 of 9, a tenth apart.
    assert table["window_start"].to_pylist() == [4] * 6
    assert table["time"].to_pylist() == pytest.approx([0.8] * 6)
    assert table["number"].to_pylist() == [0, 1, 2, 3, 4, 5]
    expected = [by_hand(model, store, row, 4, [4, 5]).mean(axis=(0, 1)) for row in range(6)]
    np.testing.assert_allclose(vectors(table, "pooled_embedding"), np.stack(expected), rtol=1e-4, atol=1e-5)
    assert json.loads(table.schema.metadata[b"polycli"])["store_hash"] == {"dr": open_store(store).manifest.store_hash}


def test_all_windows_and_their_tokens_in_order(tmp_path, model, store_factory):
    store = store_factory("swe", frames=9, grid=(16, 12), splits=("train", "test"))
    run(tmp_path, store, overrides=("windows=all", "stride=2", "kind=tokens", "batch_size=4"))
    rows, tokens = (parquet.read_table(tmp_path / name) for name in ("e.parquet", "e.tokens.parquet"))
    assert rows["trajectory"].to_pylist() == ["0000"] * 3 + ["0001"] * 3
    assert rows["window_start"].to_pylist() == [0, 2, 4] * 2
    assert tokens["row"].to_pylist() == np.repeat(np.arange(6), 12).tolist()
    assert tokens["trajectory"].to_pylist() == ["0000"] * 36 + ["0001"] * 36
    # Four patches along x, three along y; the extent is the unit square.
    assert tokens["x"].to_pylist()[:12] == np.repeat([0.125, 0.375, 0.625, 0.875], 3).tolist()
    assert tokens["y"].to_pylist()[:6] == pytest.approx([1 / 6, 1 / 2, 5 / 6] * 2)
    found = vectors(tokens, "token_embedding").reshape(6, 12, 16)
    np.testing.assert_allclose(found.mean(axis=1), vectors(rows, "pooled_embedding"), rtol=1e-4, atol=1e-5)
    expected = by_hand(model, store, 1, 2, [0]).reshape(12, 16)
    np.testing.assert_allclose(found[4], expected, rtol=1e-4, atol=1e-5)


def test_array_files_give_the_vectors_of_the_store_with_their_frames(tmp_path, model, store_factory):
    store = store_factory("swe", frames=9)
    np.save(tmp_path / "own.npy", open_store(store).read("fields"))
    settings = ("windows=all", "stride=3", "batch_size=4")
    own = ("fields=[shallow_water.height]", "boundary={x: periodic, y: periodic}", "dt=0.1")
    run(tmp_path, store, overrides=settings)
    run(tmp_path, tmp_path / "own.npy", output="own.parquet", overrides=(*settings, *own))
    of_store, of_file = (parquet.read_table(tmp_path / name) for name in ("e.parquet", "own.parquet"))
    for name in ("trajectory", "window_start", "time", "pooled_embedding"):
        assert of_file[name].to_pylist() == of_store[name].to_pylist()
    assert of_file["split"].to_pylist() == [None] * 12
    assert set(of_file["dataset"].to_pylist()) == {"own"}


def test_two_processes_write_what_one_writes(tmp_path, model, store_factory):
    stores = [store_factory("swe", frames=9), store_factory("dr", physics="diffusion_reaction", frames=11)]
    settings = ("windows=all", "kind=tokens", "batch_size=2")
    run(tmp_path, *stores, output="1/e.parquet", overrides=settings)
    words = ["embed", "mpp", "--checkpoint", str(tmp_path / "model"), "--output", str(tmp_path / "2" / "e.parquet")]
    words += [word for store in stores for word in ("--data", str(store))]
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--nproc", "2", "--json"]
    done = subprocess.run([sys.executable, "-m", "polycli", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 6 * 5 + 6 * 7
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "12")
    assert sorted(one) == ["e.parquet", "e.tokens.parquet"]
    assert one == two


def test_a_parameter_with_the_name_of_a_column_gets_another(tmp_path, model, store_factory):
    store = store_factory("swe", frames=9, splits=("train", "test"), parameters=("time", "mach"))
    run(tmp_path, store)
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table["parameter_time"].to_pylist() == [0, 1]
    assert table["time"].to_pylist() == pytest.approx([0.8, 0.8])
    assert len(set(table.column_names)) == len(table.column_names)


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, model, store_factory):
    before = set(tmp_path.iterdir())
    with pytest.raises(StoreError, match="a trajectory has 4 frames, history 3 at time_stride 2 needs 5"):
        run(tmp_path, store_factory("short", frames=4))
    with pytest.raises(UserError, match="these rows have no positions"):
        run(tmp_path, store_factory("long", frames=9), output="e.hats")
    with pytest.raises(StoreError, match=r"the model does not know the field other\.height"):
        run(tmp_path, store_factory("other", fields=["other.height"]))
    frames = open_store(store_factory("swe", frames=9)).read("fields")
    frames[2, 5] = np.nan
    np.save(tmp_path / "gap.npy", frames)
    own = ("fields=[shallow_water.height]", "boundary={x: periodic, y: periodic}", "windows=all")
    with pytest.raises(SourceError, match="gap: trajectory 0002 holds values that are not finite in the window from"):
        run(tmp_path, tmp_path / "gap.npy", overrides=own)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "stores", tmp_path / "gap.npy"}


def test_a_simulation_in_a_file_finds_its_like_by_search(tmp_path, model, store_factory):
    frames = open_store(store_factory("swe", frames=9)).read("fields")
    own = ("arrays.fields=[shallow_water.height]", "arrays.boundary={x: periodic, y: periodic}", "arrays.dt=0.1")
    np.save(tmp_path / "all.npy", frames)
    np.save(tmp_path / "one.npy", frames[2:3])
    run(tmp_path, tmp_path / "all.npy", overrides=own)
    wanted = SearchRequest(
        embeddings=tmp_path / "e.parquet", file=tmp_path / "one.npy", checkpoint=tmp_path / "model", json=True
    )
    found = search(wanted)["neighbours"]
    assert (found[0]["row"], found[0]["similarity"]) == (2, pytest.approx(1, abs=1e-5))
    assert found[1]["similarity"] < 1 - 1e-5
