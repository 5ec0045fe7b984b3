"""Models of any number of bands: trained on stores whose bands lie in other orders, used on others, refused by name."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from polycli.astroclip import embed, load_model, open_objects, pretrain
from polycli.astroclip.data.augmentations import NOISE, augmented_view
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.recipe.model import ImageSection
from polycli.astroclip.recipe.training import AugmentationSection
from polycli.errors import StoreError, UserError
from polycli.requests import EmbedRequest, TrainRequest

BANDS = ("g", "r", "i", "z")
SIZE, COUNT = 16, 24


@pytest.fixture(scope="module")
def stores(tmp_path_factory, prepare):
    """The same objects with their planes in three orders, and without i: stores by the names of their bands."""
    folder = tmp_path_factory.mktemp("bands")
    image = np.random.default_rng(0).normal(1, 0.5, (COUNT, 4, SIZE, SIZE)).astype(np.float32)
    found = {}
    for name in ("griz", "zirg", "grz"):
        planes = image[:, [BANDS.index(band) for band in name]]
        ids, places = np.arange(COUNT), {"ra": np.linspace(0, 350, COUNT), "dec": np.zeros(COUNT)}
        np.savez(folder / f"{name}.npz", image=planes, object_id=ids, **places)
        output = folder / f"{name}.zarr"
        # By content the splits would differ, for the same pixels in another order are another content.
        order = f"arrays.bands=[{','.join(name)}]"
        prepare("arrays", output, order, "split.by=sky", inputs=[folder / f"{name}.npz"])
        found[name] = output
    return found


def model(make_model, **changes):
    section = {"size": 12, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2, "layer_scale": 0.5}
    return make_model("bands", image={**section, **changes}, spectrum=None, heads=None)


def vectors(path, store, output):
    embed.run(EmbedRequest(checkpoint=path, data=(store,), output=output, overrides=()))
    found = parquet.read_table(output)["image_embedding"].combine_chunks()
    return found.flatten().to_numpy(zero_copy_only=False).reshape(len(found), -1)


@pytest.mark.parametrize("stem", ["linear", "convolution"])
def test_a_model_of_four_bands_sees_them_by_name_in_any_store(tmp_path, make_model, stores, stem):
    path = model(make_model, bands=BANDS, input="asinh", stem=stem)
    one = vectors(path, stores["griz"], tmp_path / "a.parquet")
    other = vectors(path, stores["zirg"], tmp_path / "b.parquet")

    np.testing.assert_array_equal(one, other)
    assert np.ptp(one, axis=0).max() > 0
    network, store = load_model(path), open_objects(stores["griz"])
    flux = store.read_images(np.arange(COUNT))[:, :, 2:14, 2:14]
    with torch.no_grad():
        seen = torch.from_numpy(np.arcsinh(20 * flux) / np.sqrt(20)).float()
        np.testing.assert_allclose(network.embed_image(seen).numpy(), one, rtol=1e-4, atol=1e-5)


def test_a_store_without_a_band_is_refused_by_name(tmp_path, make_model, stores):
    path = model(make_model, bands=BANDS, input="asinh")

    with pytest.raises(StoreError, match="images without band i, of g, r, i, z that are needed; they have g, r, z"):
        vectors(path, stores["grz"], tmp_path / "a.parquet")


def test_colours_are_made_of_three_bands_wherever_they_lie(tmp_path, make_model, stores):
    path = model(make_model)
    expected = vectors(path, stores["grz"], tmp_path / "a.parquet")

    np.testing.assert_array_equal(vectors(path, stores["zirg"], tmp_path / "b.parquet"), expected)


def trained(output, stores, *overrides):
    settings = (
        *("model.image.size=12", "model.image.patch_size=4", "model.image.embed_dim=12", "model.image.depth=1"),
        *("model.image.num_heads=2", "train.steps=2", "train.global_batch_size=4", "train.micro_batch_size=4"),
        *("moco.queue_size=8", "engine.precision=float32", "train.validate_every=2", "train.checkpoint_every=2"),
        *("augmentation.blur=[0,0]", "schedule.warmup_steps=1"),
    )
    request = TrainRequest(
        recipe="astroclip_demo_image", data=tuple(stores), output=output, overrides=(*settings, *overrides)
    )
    pretrain.run(request)
    return load_model(output)


def test_training_on_stores_in_other_orders_is_training_on_one_order(tmp_path, stores):
    bands = ("model.image.bands=[i,g,z]", "model.image.input=asinh")
    one = trained(tmp_path / "one", [stores["griz"]], *bands)
    other = trained(tmp_path / "other", [stores["zirg"]], *bands)

    assert one.section.image.bands == ("i", "g", "z")
    assert one.image_encoder.backbone.patch_embed.first.weight.shape[1] == 3
    for name, values in one.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name
    with pytest.raises(StoreError, match="images without band i"):
        trained(tmp_path / "three", [stores["grz"]], *bands)


def test_colours_of_other_bands_are_no_model():
    with pytest.raises(ValueError, match="input rgb makes colours of g, r, z, and bands are g, r, i"):
        ImageSection(bands=("g", "r", "i"))
    with pytest.raises(ValueError, match="each band once"):
        ImageSection(bands=("g", "g"), input="flux")


def test_noise_of_i_lies_between_r_and_z_and_of_others_is_not_known():
    flux = torch.zeros(400, 4, 12, 12)
    section = AugmentationSection(blur=(0.0, 0.0), noise=(1.0, 1.0), flip=0)
    keys = keys_of(0, torch.arange(400))
    view = augmented_view(flux, keys, section, view=0, size=12, bands=BANDS, kind="flux", planes=BANDS)
    spread = view.std(dim=(0, 2, 3))

    assert spread[1] < spread[2] < spread[3]
    assert "i" not in NOISE
    with pytest.raises(UserError, match="how seeing and noise vary in the band y is not known"):
        augmented_view(flux[:, :1], keys, section, view=0, size=12, bands=("y",), kind="flux", planes=("y",))
