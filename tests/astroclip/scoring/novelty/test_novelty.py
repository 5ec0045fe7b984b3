"""Novelty: objects of kinds that training never saw lie far out, and predict and embed say so without any store."""

import numpy as np
import pytest
from pyarrow import parquet
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from polycli.astroclip import calibrate, embed, open_objects, predict
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors, novelty_beside, read_statistics
from polycli.errors import CheckpointError, StoreError, UserError
from polycli.requests import CalibrateRequest, EmbedRequest, PredictRequest

KINDS = ("star", "artefact", "double", "noise")


def strange(kind, images, generator):
    """Images (n, 3, y, x) as the galaxies that training saw are not."""
    count, _, size, _ = images.shape
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    changed = images.copy()
    for index in range(count):
        if kind == "star":
            flux = generator.uniform(20, 100) * np.array([0.7, 1.0, 1.2])[:, None, None]
            psf = np.exp(-(x**2 + y**2) / (2 * 1.8**2)) / (2 * np.pi * 1.8**2)
            changed[index] = flux * psf + 0.01 * generator.standard_normal((3, size, size))
        elif kind == "artefact":
            changed[index, :, :, int(generator.integers(size))] += 5
            changed[index, int(generator.integers(3)), : size // 3] = 0
        elif kind == "double":
            changed[index] += np.roll(images[(index + 1) % count], (6, 6), axis=(1, 2))
        else:
            changed[index] += 0.3 * generator.standard_normal((3, size, size))
    return changed


class Cells:
    """Images in memory, as an encoder reads them."""

    bands = ("g", "r", "z")

    def __init__(self, images):
        self.images = images.astype(np.float32)

    def read_images(self, rows):
        return self.images[rows]


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory, prepare):
    path = tmp_path_factory.mktemp("novelty") / "survey.zarr"
    prepare("mock", path, "mock.objects=160", "mock.size=48", "split.test=0.3")
    return path


@pytest.fixture
def model(make_model):
    """An image encoder of its own, since statistics lie beside it."""
    return make_model("novelty", spectrum=None, heads=None)


def vectors_of(model, readable, rows):
    loaded = load_checkpoint(model, quiet=True)
    return Encoder(loaded.model, readable, precision="float32", batch_size=32).vectors("image", rows)


def test_kinds_that_training_never_saw_lie_farther_out_than_test_objects(model, galaxies):
    store = open_objects(galaxies)
    train, test = store.rows("train"), store.rows("test")
    known, usual = vectors_of(model, store, train), vectors_of(model, store, test)
    statistics = TrainingVectors.of(known)
    areas, neighbours = {}, {}
    for number, kind in enumerate(KINDS):
        images = strange(kind, store.read_images(test), np.random.default_rng(number))
        found = vectors_of(model, Cells(images), np.arange(len(test)))
        truth = np.repeat([0, 1], len(test))
        areas[kind] = roc_auc_score(truth, statistics.novelty(np.concatenate([usual, found])))
        index = NearestNeighbors(n_neighbors=5).fit(known)
        distance = index.kneighbors(np.concatenate([usual, found]))[0].mean(axis=1)
        neighbours[kind] = roc_auc_score(truth, distance)
    # Of 53 objects each, 0.61 is two standard deviations from chance. The encoder is tiny and untrained. Two galaxies
    # in one are galaxies to it, and to trained ones more than anything else here.
    said = f"{areas}, by neighbours {neighbours}"
    assert min(areas["artefact"], areas["noise"], areas["star"]) > 0.61, said
    assert areas["double"] == min(areas.values()), said
    assert abs(np.mean(list(areas.values())) - np.mean(list(neighbours.values()))) < 0.15, said
    # Usual objects lie about the scale's hundredth that it was made for.
    assert (statistics.novelty(usual) > 1).mean() < 0.2, said


def test_novelty_is_the_mahalanobis_distance_over_the_percentile_of_held_back_objects():
    generator = np.random.default_rng(0)
    vectors = (generator.standard_normal((200, 6)) * np.arange(1, 7) + 1).astype(np.float32)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(200)
    fitted = LedoitWolf().fit(directions[order[40:]].astype(float))
    distance = np.sqrt(fitted.mahalanobis(directions.astype(float)))
    expected = distance / np.quantile(distance[order[:40]], 0.99)
    assert TrainingVectors.of(vectors).novelty(vectors) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(StoreError, match="49 training objects, at least 50"):
        TrainingVectors.of(vectors[:49])


def test_predict_and_embed_write_it_where_calibrate_kept_the_statistics(tmp_path, model, galaxies):
    def embedded(name, *overrides):
        output = tmp_path / f"{name}.parquet"
        embed.run(EmbedRequest(checkpoint=model, data=(galaxies,), output=output, overrides=overrides, json=True))
        return parquet.read_table(output)

    assert "novelty_image" not in embedded("before").column_names
    with pytest.raises(UserError, match="there are no statistics of training vectors"):
        embedded("must", "novelty=must")
    request = CalibrateRequest(checkpoint=model, data=(galaxies,), overrides=("novelty=true",), json=True)
    document = calibrate.run(request)
    store = open_objects(galaxies)
    assert document["vectors"] == {"image": len(store.rows("train"))}

    plain, unit_length = embedded("plain"), embedded("unit", "normalise=true", "dtype=float16")
    expected = TrainingVectors.of(vectors_of(model, store, store.rows("train"))).novelty(
        vectors_of(model, store, store.rows())
    )
    assert plain["novelty_image"].to_numpy() == pytest.approx(expected, rel=1e-3)
    assert unit_length["novelty_image"].to_numpy() == pytest.approx(expected, rel=0.1)
    assert "novelty_image" not in embedded("never", "novelty=never").column_names
    predict.run(
        PredictRequest(
            checkpoint=model,
            data=(galaxies,),
            output=tmp_path / "c.parquet",
            split="test",
            overrides=(f"reference=[{galaxies}]", "neighbours=5"),
            json=True,
        )
    )
    table = parquet.read_table(tmp_path / "c.parquet")
    assert table["novelty_image"].to_numpy() == pytest.approx(expected[store.rows("test")], rel=1e-3)

    with pytest.raises(UserError, match="overwrite"):
        calibrate.run(request)
    with pytest.raises(CheckpointError, match="of other weights"):
        read_statistics(novelty_beside(model), "0" * 64)
    novelty_beside(model).write_bytes(novelty_beside(model).read_bytes()[:100])
    with pytest.raises(CheckpointError, match="or damaged"):
        embedded("damaged")
