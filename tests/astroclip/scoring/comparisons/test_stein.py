"""Stein et al.'s ResNet-50 beside a model, as it was trained and as AstroCLIP's paper compared it; random weights."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from polycli.astroclip import eval as evaluation
from polycli.astroclip import load_model, open_objects
from polycli.astroclip.data.rgb import as_seen
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection
from polycli.astroclip.scoring.comparisons.stein import check_stein, normalised_by_batch, stein_vectors
from polycli.astroclip.scoring.encode import Encoder
from polycli.errors import CheckpointError
from polycli.requests import EvalRequest


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file as Stein et al. publish theirs, with random weights and means that batches of noise left."""
    torch.manual_seed(0)
    section = ModelSection(image=ImageSection(name="resnet50"), heads=HeadSection(embed_dim=12, image="mlp"))
    model = AstroClip(section).train()
    with torch.no_grad():
        model.embed_image(torch.rand(4, 3, 64, 64))
    prefixes = (("image_encoder.backbone.", "encoder_q."), ("image_encoder.mlp.", "encoder_q.fc."))
    renamed = {}
    for name, value in model.state_dict().items():
        for ours, theirs in prefixes:
            if name.startswith(ours):
                renamed[name.replace(ours, theirs)] = value
    path = tmp_path_factory.mktemp("stein") / "resnet50.ckpt"
    torch.save({"state_dict": renamed}, path)
    return path


def test_both_ways_of_reading_it_are_those_of_the_papers(published, mock_store):
    model, store, rows = load_model(published), open_objects(mock_store), np.arange(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    found = stein_vectors(Encoder(model, store, precision="float32", batch_size=8), rows)

    images = torch.from_numpy(store.read_images(rows))
    with torch.no_grad():
        maps = model.image_encoder.backbone(as_seen(images, "stein"))
        other = load_model(published).train()
        compared = other.embed_image(as_seen(images, "rgb"))
    np.testing.assert_allclose(found["stein_as_trained"], maps.mean(dim=1).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["stein_as_compared"], compared.numpy(), rtol=1e-3, atol=1e-4)
    assert (found["stein_as_trained"].shape, found["stein_as_compared"].shape) == ((3, 2048), (3, 12))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not model.training
    assert not any(layer.training for layer in model.modules())


def test_batches_decide_inside_alone():
    layer = torch.nn.BatchNorm2d(2).eval()
    values = 5 + torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    with normalised_by_batch(layer):
        assert layer(values).mean().abs() < 1e-5
    assert layer(values).mean() > 4
    assert layer.track_running_stats


def test_nothing_is_kept_of_a_batch_not_even_what_is_no_number():
    layer = torch.nn.BatchNorm2d(2).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with normalised_by_batch(layer):
        layer(torch.full((4, 2, 3, 3), torch.nan))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_eval_has_both_rows_of_every_property(published, image_model, mock_store, tmp_path, capsys):
    quick = ("bootstrap_samples=10", "neighbours=5", "properties=[redshift]", "labels=[]", "report=false")
    request = EvalRequest(
        checkpoint=image_model, data=(mock_store,), output=tmp_path / "e", overrides=(*quick, f"stein={published}")
    )
    document = evaluation.run(request)

    found = document["datasets"]["mock"]["properties"]["redshift"]
    said = capsys.readouterr().err
    assert "cutouts of 64 pixels: Stein et al.'s network sees 64 of the 96 that it was trained on, and 64 of" in said
    assert document["stein"] == str(published)
    store = open_objects(mock_store)
    train, test = store.rows("train"), store.rows("test")
    encoder = Encoder(load_model(published), store, precision="float32", batch_size=64)
    learnt, asked = (stein_vectors(encoder, rows) for rows in (train, test))
    truth = store.target("redshift")
    for name in ("stein_as_trained", "stein_as_compared"):
        scaler = StandardScaler().fit(learnt[name].astype(np.float64))
        probe = KNeighborsRegressor(5, weights="distance").fit(scaler.transform(learnt[name]), truth[train])
        predicted = probe.predict(scaler.transform(asked[name]))
        expected = 1 - np.square(predicted - truth[test]).sum() / np.square(truth[test] - truth[test].mean()).sum()
        assert found[name]["knn"]["r2"] == pytest.approx(expected, abs=1e-3)


def test_a_store_without_images_is_said_to_have_no_such_rows(published, prepare, tmp_path, capsys):
    grid = np.linspace(4000, 5000, 100)
    np.savez(tmp_path / "s.npz", spectrum=np.ones((8, 100)), wavelength=grid, object_id=np.arange(8))
    prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "s.npz"])
    check_stein(load_checkpoint(published, quiet=True), open_objects(tmp_path / "s.zarr"))
    assert "s: has no images, so that Stein et al.'s network does not stand beside the model" in capsys.readouterr().err


def test_another_network_is_refused_by_name(image_model, mock_store, tmp_path):
    request = EvalRequest(
        checkpoint=image_model, data=(mock_store,), output=tmp_path / "e", overrides=(f"stein={image_model}",)
    )
    with pytest.raises(CheckpointError, match=r"stein: .* is no ResNet-50 with two last layers") as refusal:
        evaluation.run(request)
    assert "unaligned.image=CHECKPOINT" in refusal.value.hint
