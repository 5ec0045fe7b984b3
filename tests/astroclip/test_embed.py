"""`polycli embed astroclip` on a tiny store and a tiny untrained model."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from polycli.astroclip import embed, load_model, open_objects
from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.scoring.encode import Encoder
from polycli.errors import CheckpointError, StoreError, UserError
from polycli.requests import EmbedRequest


def embeddings(path, name):
    found = path["vectors" if name is None else name].combine_chunks()
    return found.flatten().to_numpy(zero_copy_only=False).reshape(len(found), -1)


def request(model, store, output, *overrides, **options):
    return EmbedRequest(checkpoint=model, data=(store,), output=output, overrides=overrides, **options)


def test_every_object_alone_has_the_vector_that_it_has_in_a_batch(tmp_path, tiny_model, mock_store):
    embed.run(request(tiny_model, mock_store, tmp_path / "e.parquet", "batch_size=7"))
    table = parquet.read_table(tmp_path / "e.parquet")
    store, model = open_objects(mock_store), load_model(tiny_model)
    assert table["object_id"].to_pylist() == store.ids().tolist()
    assert table["redshift"].to_pylist() == store.column("redshift").tolist()
    for row in range(len(store)):
        with torch.no_grad():
            rgb = model_input(torch.from_numpy(store.read_images([row])), model.section.image.size)
            image = model.embed_image(rgb)[0].numpy()
            spectrum = model.embed_spectrum(torch.from_numpy(store.read_spectra([row]).flux))[0].numpy()
        np.testing.assert_allclose(embeddings(table, "image_embedding")[row], image, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embeddings(table, "spectrum_embedding")[row], spectrum, rtol=1e-4, atol=1e-5)
        fused = (image / np.linalg.norm(image) + spectrum / np.linalg.norm(spectrum)) / 2
        np.testing.assert_allclose(embeddings(table, "fused_embedding")[row], fused, rtol=1e-4, atol=1e-5)


def test_vectors_that_do_not_vary_are_said_once(tmp_path, tiny_model, mock_store, monkeypatch, capsys):
    embed.run(request(tiny_model, mock_store, tmp_path / "e.parquet", limit=20))
    assert "all but equal" not in capsys.readouterr().err
    whole = Encoder.vectors
    # As of an encoder that has collapsed: rounding is all that differs.
    monkeypatch.setattr(Encoder, "vectors", lambda *given, **more: 1 + 1e-6 * whole(*given, **more))
    embed.run(request(tiny_model, mock_store, tmp_path / "f.parquet", "vectors=[image]", limit=20))

    assert (
        capsys.readouterr().err.count("the image vectors of 20 objects are all but equal: either the encoder has") == 1
    )


def test_vectors_are_of_what_the_encoder_was_trained_to_see(tmp_path, make_model, mock_store):
    section = {"size": 48, "embed_dim": 12, "depth": 1, "num_heads": 2, "layer_scale": 0.5, "input": "flux"}
    path = make_model("flux", image=section, spectrum=None, heads=None)
    embed.run(request(path, mock_store, tmp_path / "e.parquet", limit=5))
    store, model = open_objects(mock_store), load_model(path)

    with torch.no_grad():
        # The middle 48 of 64 pixels, in nanomaggies as the store has them.
        expected = model.embed_image(torch.from_numpy(store.read_images(range(5)))[:, :, 8:56, 8:56]).numpy()

    found = embeddings(parquet.read_table(tmp_path / "e.parquet"), "image_embedding")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_two_processes_write_the_parts_that_one_writes(tmp_path, tiny_model, mock_store):
    settings = ("dtype=float16", "batch_size=2")
    embed.run(request(tiny_model, mock_store, tmp_path / "1", *settings, limit=5))
    words = ["embed", "astroclip", "--checkpoint", str(tiny_model), "--data", str(mock_store), "--limit", "5"]
    words += ["--output", str(tmp_path / "2"), "--nproc", "2", "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run([sys.executable, "-m", "polycli", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 5
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "12")
    assert sorted(one) == ["_MANIFEST.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert one == two
    table = parquet.read_table(tmp_path / "2")
    assert table["object_id"].to_pylist() == open_objects(mock_store).ids()[:5].tolist()
    assert embeddings(table, "image_embedding").dtype == np.float16


def test_rows_come_in_the_order_in_which_stores_are_given(tmp_path, prepare, tiny_model, mock_store):
    prepare("mock", tmp_path / "before.zarr", "mock.objects=3")
    data = (mock_store, tmp_path / "before.zarr")
    embed.run(EmbedRequest(checkpoint=tiny_model, data=data, output=tmp_path / "e.parquet", limit=3))
    expected = [
        *open_objects(mock_store).ids()[:3].tolist(),
        *open_objects(tmp_path / "before.zarr").ids()[:3].tolist(),
    ]
    assert parquet.read_table(tmp_path / "e.parquet")["object_id"].to_pylist() == expected


def test_stores_of_different_columns_make_one_table_with_gaps(tmp_path, prepare, tiny_model, mock_store):
    generator = np.random.default_rng(0)
    ids = 39633297352951412 + np.arange(5)

    def other(name, **changes):
        arrays = {
            "image": generator.standard_normal((5, 3, 48, 48)).astype(np.float32),
            "spectrum": generator.standard_normal((5, 7781)).astype(np.float32),
            "wavelength": 3600 + 0.8 * np.arange(7781),
            "object_id": ids,
            "brick": ids + 7,
            "snr": np.arange(5.0),
            **changes,
        }
        np.savez(tmp_path / f"{name}.npz", **arrays)
        prepare("arrays", tmp_path / f"{name}.zarr", inputs=[tmp_path / f"{name}.npz"])
        return tmp_path / f"{name}.zarr"

    data = (mock_store, other("more"))
    embed.run(EmbedRequest(checkpoint=tiny_model, data=data, output=tmp_path / "e.parquet"))
    table = parquet.read_table(tmp_path / "e.parquet")
    count = len(open_objects(mock_store))
    assert table["object_id"].to_pylist() == [*open_objects(mock_store).ids().tolist(), *ids.tolist()]
    assert table["brick"].to_pylist() == [None] * count + (ids + 7).tolist()
    assert table["logm"].null_count == 5
    assert table["snr"].to_pylist()[count:] == [0, 1, 2, 3, 4]

    before = set(tmp_path.iterdir())
    for name, changes in (("text", {"object_id": ids.astype(str)}), ("whole", {"snr": ids})):
        column = next(iter(changes))
        data = (mock_store, other(name, **changes))
        with pytest.raises(StoreError, match=f"column {column} is .* they make no table together"):
            embed.run(EmbedRequest(checkpoint=tiny_model, data=data, output=tmp_path / "refused"))
        before |= {tmp_path / f"{name}.npz", tmp_path / f"{name}.zarr"}
    assert set(tmp_path.iterdir()) == before


def test_stores_of_one_name_are_all_named_with_their_hashes(tmp_path, prepare, tiny_model, mock_store):
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / mock_store.name
    prepare("mock", other, "mock.objects=3", "mock.seed=9")
    done = embed.run(EmbedRequest(checkpoint=tiny_model, data=(mock_store, other), output=tmp_path / "e", limit=2))
    hashes = [open_objects(path).manifest.store_hash for path in (mock_store, other)]
    assert sorted(done["store_hash"].values()) == sorted(hashes)


def test_an_embedding_that_fails_leaves_nothing_behind(tmp_path, tiny_model, mock_store, monkeypatch):
    def failing(*_, **__):
        raise StoreError("a chunk is damaged")

    monkeypatch.setattr(embed.ObjectTables, "__call__", failing)
    with pytest.raises(StoreError, match="a chunk is damaged"):
        embed.run(request(tiny_model, mock_store, tmp_path / "e"))
    assert list(tmp_path.iterdir()) == []


def test_a_catalogue_of_the_sky_has_every_object(tmp_path, tiny_model, mock_store):
    done = embed.run(request(tiny_model, mock_store, tmp_path / "e.hats", limit=6))
    assert (done["rows"], done["vectors"]["image_embedding"]["dtype"]) == (6, "float16")
    for name in ("objects", "vectors"):
        files = (tmp_path / "e.hats" / name).rglob("Npix=*.parquet")
        ids = [key for file in files for key in parquet.ParquetFile(file).read()["object_id"].to_pylist()]
        assert sorted(ids) == sorted(open_objects(mock_store).ids()[:6].tolist())


def test_unit_vectors_on_request(tmp_path, tiny_model, mock_store):
    embed.run(request(tiny_model, mock_store, tmp_path / "e.parquet", "normalise=true", "vectors=[image]", limit=3))
    table = parquet.read_table(tmp_path / "e.parquet")
    assert "spectrum_embedding" not in table.column_names
    assert np.linalg.norm(embeddings(table, "image_embedding"), axis=1) == pytest.approx(np.ones(3), rel=1e-5)


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, tiny_model, image_model, mock_store):
    output = tmp_path / "e.parquet"
    with pytest.raises(StoreError, match="there are no spectrum vectors, only image"):
        embed.run(request(image_model, mock_store, output, "vectors=[spectrum]"))
    with pytest.raises(CheckpointError, match="fused vectors are the mean of aligned"):
        embed.run(request(image_model, mock_store, output, "vectors=[fused]"))
    with pytest.raises(StoreError, match="no object is in the split"):
        embed.run(request(tiny_model, mock_store, output, split="test", limit=0))
    with pytest.raises(UserError, match="the suffix says the format"):
        embed.run(request(tiny_model, mock_store, tmp_path / "e.csv"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_at_home_and_nothing_is_asked_of_the_network(tmp_path, tiny_model, mock_store):
    """Nodes of clusters have homes that cannot be written and no way out."""
    output = tmp_path / "e.hats"
    line = ["embed", "astroclip", "--checkpoint", tiny_model, "--data", mock_store, "--output", output, "--limit", "3"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "polycli", *map(str, line), "--json"],
        env={**kept, **nowhere, "HOME": "/dev/null"},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "/dev/null" not in done.stderr
    assert json.loads(done.stdout)["rows"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["e.hats"]
