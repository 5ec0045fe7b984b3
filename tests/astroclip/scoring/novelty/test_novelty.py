"""Novelty: objects of kinds that training never saw lie far out, and predict and embed say so without any store."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import polycli
from polycli.astroclip import calibrate, embed, open_objects, predict
from polycli.astroclip.model.astroclip import ImageEncoder
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.recipe.model import HeadSection, PropertySection
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors, read_statistics, write_statistics
from polycli.checkpoints.tensors import read_state_dict
from polycli.checkpoints.training_vectors import statistics_beside
from polycli.errors import CheckpointError, StoreError, UserError
from polycli.exporting import export_checkpoint
from polycli.requests import CalibrateRequest, EmbedRequest, PredictRequest
from polycli.store.hashing import file_hash

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
    assert unit_length["novelty_image"].to_numpy() == pytest.approx(expected, rel=1e-3)
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
        read_statistics(statistics_beside(model), "0" * 64)
    statistics_beside(model).write_bytes(statistics_beside(model).read_bytes()[:100])
    with pytest.raises(CheckpointError, match="or damaged"):
        embedded("damaged")


def with_statistics(model, galaxies):
    calibrate.run(CalibrateRequest(checkpoint=model, data=(galaxies,), overrides=("novelty=true",), json=True))
    return model


def embedded(model, galaxies, output, *overrides):
    embed.run(
        EmbedRequest(checkpoint=model, data=(galaxies,), output=output, split="test", overrides=overrides, json=True)
    )
    return parquet.read_table(output)


HEAD = PropertySection(modalities=("image",), regression=("redshift",), quantiles=(0.1, 0.9))


@pytest.mark.parametrize("kind", ["neighbours", "head", "backbone"])
def test_predict_encodes_an_object_once_for_its_properties_and_its_novelty(
    tmp_path, make_model, galaxies, monkeypatch, kind
):
    heads, sections = (HeadSection(embed_dim=16) if kind == "backbone" else None), {}
    if kind != "neighbours":
        source = "backbone" if kind == "backbone" else "embedding"
        sections["properties"] = HEAD.model_copy(update={"source": source})
    model = make_model(f"once_{kind}", spectrum=None, heads=heads, **sections)
    store, passed = open_objects(galaxies), []
    loaded = load_checkpoint(model, quiet=True)
    known = TrainingVectors.of(vectors_of(model, store, store.rows("train")))
    write_statistics(statistics_beside(model), {"image": known}, loaded.model_hash)
    # Where it is measured apart from all else.
    expected = embedded(model, galaxies, tmp_path / "e.parquet")
    forward = ImageEncoder.forward

    def counted(self, rgb):
        passed.append(len(rgb))
        return forward(self, rgb)

    monkeypatch.setattr(ImageEncoder, "forward", counted)
    output = tmp_path / "p.parquet"
    overrides = (f"reference=[{galaxies}]", "neighbours=5") if kind == "neighbours" else ()
    request = PredictRequest(
        checkpoint=model, data=(galaxies,), output=output, split="test", overrides=overrides, json=True
    )
    predict.run(request)
    labelled = len(store.rows("train")) if kind == "neighbours" else 0
    # A head that looks at the backbone's features has no vectors of the embedding: these are made for novelty.
    assert sum(passed) == labelled + len(store.rows("test"))
    found = parquet.read_table(output)
    assert found["object_id"].equals(expected["object_id"])
    assert found["novelty_image"].to_pylist() == expected["novelty_image"].to_pylist()


def test_exported_weights_take_the_statistics_along(tmp_path, model, galaxies, capsys):
    with_statistics(model, galaxies)
    target = tmp_path / "shared" / "small.safetensors"
    document = export_checkpoint(model, target)
    assert document["statistics"] == str(statistics_beside(target))
    assert "small.novelty.npz" in capsys.readouterr().err
    one, other = (embedded(file, galaxies, tmp_path / f"{file.stem}.parquet") for file in (model, target))
    assert one["novelty_image"].equals(other["novelty_image"])
    with pytest.raises(UserError, match=r"small\.safetensors: exists already"):
        export_checkpoint(model, target)

    # Those of other weights stay behind, and do not stay beside weights that they are not of.
    write_statistics(statistics_beside(model), read_statistics(statistics_beside(target), file_hash(target)), "0" * 64)
    document = export_checkpoint(model, target, force=True)
    assert "statistics" not in document
    assert not statistics_beside(target).exists()
    assert "stays behind, for it was made for other weights" in capsys.readouterr().err
    assert read_state_dict(target).keys() == read_state_dict(model).keys()


def test_tables_in_memory_get_the_novelty_that_embed_writes(tmp_path, model, galaxies):
    store = open_objects(galaxies)
    rows = store.rows("test")
    images = store.read_images(rows)
    table = pa.table({"object_id": store.ids(rows), "image": images.tolist()})
    said = {"image": "image", "bands": store.bands, "keep": ["object_id"]}
    with pytest.raises(UserError, match="there are no statistics of training vectors"):
        polycli.embed_partition("astroclip", model, novelty="must", **said)(table)
    with_statistics(model, galaxies)
    function = polycli.embed_partition("astroclip", model, **said)
    made = function(table)
    expected = embedded(model, galaxies, tmp_path / "e.parquet")
    assert made.column_names == ["object_id", "image_embedding", "novelty_image"]
    assert made["novelty_image"].to_pylist() == pytest.approx(expected["novelty_image"].to_pylist(), rel=1e-5)
    assert function(table.slice(0, 0)).schema.equals(made.schema)
    without = polycli.embed_partition("astroclip", model, novelty="never", **said)(table)
    assert "novelty_image" not in without.column_names


def test_predict_of_pairs_and_of_images_alone_leaves_gaps_where_there_is_no_spectrum(
    tmp_path, tiny_model, mock_store, prepare, survey_files
):
    """Columns were those of the first store, and any other set of them a Python error."""
    images, beside = tmp_path / "images.zarr", statistics_beside(tiny_model)
    survey_files.legacysurvey(tmp_path / "images_npix152_0.h5", size=64)
    prepare("legacysurvey", images, inputs=[tmp_path / "images_npix152_0.h5"])
    known = TrainingVectors(np.zeros(16), np.eye(16), 1.0)
    write_statistics(beside, {"image": known, "spectrum": known}, file_hash(tiny_model))
    for data in ((mock_store, images), (images, mock_store)):
        output, overrides = tmp_path / f"{data[0].stem}.parquet", (f"reference=[{mock_store}]", "neighbours=5")
        request = PredictRequest(checkpoint=tiny_model, data=data, output=output, split="test", overrides=overrides)
        assert {"novelty_image", "novelty_spectrum"} <= {*predict.run(request)["columns"]}
        found = parquet.read_table(output)
        assert found["novelty_image"].null_count == 0
        assert found["novelty_spectrum"].null_count == len(open_objects(images).rows("test")) > 0
    beside.unlink()  # the model is of the whole session


def test_it_is_of_the_vectors_that_are_made_and_statistics_of_others_are_refused_by_name(tmp_path, make_model, prepare):
    galaxies = tmp_path / "pairs.zarr"
    prepare("mock", galaxies, "mock.objects=100", "mock.size=48")
    model = make_model("both")
    with_statistics(model, galaxies)
    fused = embedded(model, galaxies, tmp_path / "fused.parquet", "vectors=[fused]")
    assert {"novelty_image", "novelty_spectrum"} <= {*fused.column_names}
    alone = embedded(model, galaxies, tmp_path / "alone.parquet", "vectors=[spectrum]")
    assert alone["novelty_spectrum"].equals(fused["novelty_spectrum"])
    assert "novelty_image" not in alone.column_names

    beside = statistics_beside(model)
    kept = read_statistics(beside, file_hash(model))
    write_statistics(beside, {"image": kept["image"]}, file_hash(model))
    with pytest.raises(UserError, match="has statistics of image vectors, and spectrum vectors are made here"):
        embedded(model, galaxies, tmp_path / "must.parquet", "vectors=[spectrum]", "novelty=must")
    strange = TrainingVectors(kept["image"].mean[:3], kept["image"].whitening, 1.0)
    write_statistics(beside, {"image": strange}, file_hash(model))
    with pytest.raises(CheckpointError, match="those of the image vectors are no mean and spread"):
        embedded(model, galaxies, tmp_path / "strange.parquet")
