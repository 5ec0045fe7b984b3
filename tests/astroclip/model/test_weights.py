"""Checkpoints of every origin become models, and none becomes one in silence that it is not."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from polycli.astroclip import load_model
from polycli.astroclip.data.rgb import as_seen
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, SpectrumSection
from polycli.errors import CheckpointError

VIT = ImageSection(size=24, patch_size=12, embed_dim=128, depth=4, num_heads=2, layer_scale=0.1)
SPECTRUM = SpectrumSection(embed_dim=12, depth=1, num_heads=6)


def section(**parts):
    return ModelSection(**parts)


def prefixed(model, prefix, replacement):
    return {replacement + name.removeprefix(prefix): value.clone() for name, value in model.state_dict().items()}


def chunked(tensors, size=2):
    """DINOv2's names: blocks in chunks, numbered through."""
    found = {}
    for name, value in tensors.items():
        parts = name.split(".")
        if "blocks" in parts:
            place = parts.index("blocks") + 1
            parts.insert(place, str(int(parts[place]) // size))
        found[".".join(parts)] = value
    return found


@pytest.fixture
def images():
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return AstroClip(section(image=VIT)).eval()


@pytest.mark.parametrize("names", ["flat", "chunked", "wrapped"])
def test_a_teacher_of_dinov2_is_read_whatever_its_names(vit, images, tmp_path, names):
    tensors = prefixed(vit, "image_encoder.backbone.", "backbone.")
    if names != "flat":
        tensors = chunked(tensors)
    if names == "wrapped":
        tensors = {name.replace("norm1.", "_fsdp_wrapped_module.norm1."): value for name, value in tensors.items()}
    tensors |= {"dino_head.mlp.0.weight": torch.zeros(3, 3), "dino_head.last_layer.weight_g": torch.zeros(3, 1)}
    torch.save({"teacher": tensors}, tmp_path / "astrodino.ckpt")

    model = load_model(tmp_path / "astrodino.ckpt")

    assert model.section.image.depth == 4
    assert torch.equal(model.embed_image(images), vit.embed_image(images))


def test_a_moco_of_stein_becomes_its_query_encoder(tmp_path):
    torch.manual_seed(0)
    model = AstroClip(
        section(image=ImageSection(name="resnet50", size=32), heads=HeadSection(embed_dim=8, image="mlp"))
    )
    model = model.eval()
    ours = model.state_dict()
    renamed = {
        name.replace("image_encoder.backbone.", "encoder_q.").replace("image_encoder.mlp.", "encoder_q.fc."): value
        for name, value in ours.items()
    }
    keys = {name.replace("encoder_q", "encoder_k"): torch.zeros_like(value) for name, value in renamed.items()}
    queue = {"queue": torch.zeros(8, 4), "queue_ptr": torch.zeros(1), "val_queue": torch.zeros(8, 4)}
    torch.save({"state_dict": {**renamed, **keys, **queue}}, tmp_path / "stein.ckpt")

    read = load_model(tmp_path / "stein.ckpt")

    image = torch.rand(2, 3, 32, 32)
    assert read.section.heads.image == "mlp"
    assert read.section.image.size == 96
    cutouts = 0.1 * torch.randn(2, 3, 152, 152)
    assert torch.equal(read.image_input(cutouts), as_seen(cutouts[:, :, 28:124, 28:124], "stein"))
    assert load_model(tmp_path / "stein.ckpt", image={"input": "rgb"}).section.image.input == "rgb"
    assert load_model(tmp_path / "stein.ckpt", image={"size": 144}).section.image.size == 144
    assert torch.equal(read.embed_image(image), model.embed_image(image))
    assert read.image_features(image).shape == (2, 2048)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("image_encoder.backbone.blocks.3.ls2.gamma"),
            "1 tensors are missing, image_encoder.*ls2.gamma",
        ),
        (lambda t: t.update({"image_encoder.more": torch.zeros(1)}), "1 tensors are unknown, image_encoder.more"),
        (lambda t: t.update({"image_encoder.backbone.norm.bias": torch.zeros(3)}), r"is \(3,\), \(128,\) was expected"),
        (lambda t: t["image_encoder.backbone.norm.bias"].fill_(torch.nan), "not finite"),
        (lambda t: t.pop("image_encoder.backbone.pos_embed"), "not those of an AstroCLIP model"),
    ],
)
def test_what_does_not_fit_is_told_by_name(vit, tmp_path, change, message):
    tensors = {name: value.clone() for name, value in vit.state_dict().items()}
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")

    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "model.safetensors")


def test_another_kind_of_model_is_refused(tmp_path):
    save_file({"first.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not an AstroCLIP model"):
        load_model(tmp_path / "other.safetensors")


def test_sizes_that_tensors_do_not_tell_have_published_values_and_can_be_given(tmp_path):
    torch.manual_seed(0)
    model = AstroClip(section(spectrum=SPECTRUM, image=VIT, heads=HeadSection(embed_dim=8, num_heads=4))).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")

    published = load_model(tmp_path / "model.safetensors").section
    given = load_model(tmp_path / "model.safetensors", vit_heads=4, n_head=2, spectrum_heads=3).section

    assert [published.image.num_heads, published.heads.num_heads, published.spectrum.num_heads] == [2, 4, 6]
    assert [given.image.num_heads, given.heads.num_heads, given.spectrum.num_heads] == [4, 2, 3]
    with pytest.raises(TypeError, match="no size 'heads_of_vit'"):
        load_model(tmp_path / "model.safetensors", heads_of_vit=3)


class Dangerous:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f"open({str(self.target)!r}, 'w').close()",))


def lightning(tmp_path, model, extra):
    tensors = prefixed(model, "spectrum_encoder.backbone.", "")
    torch.save({"state_dict": tensors, "hyper_parameters": {"num_heads": 3, "extra": extra}}, tmp_path / "file.ckpt")
    return tmp_path / "file.ckpt"


def test_a_dangerous_file_is_refused_by_name_and_nothing_of_it_runs(tmp_path):
    path = lightning(tmp_path, AstroClip(section(spectrum=SPECTRUM)), Dangerous(tmp_path / "hit"))

    with pytest.raises(CheckpointError, match=r"Python object (builtins|__builtin__)\.exec, which is refused"):
        load_model(path)
    assert not (tmp_path / "hit").exists()


def test_a_dangerous_pickle_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "file.ckpt"
    path.write_bytes(pickle.dumps(Dangerous(tmp_path / "hit"), protocol=2))
    with pytest.raises(CheckpointError):
        load_model(path)
    assert not (tmp_path / "hit").exists()


def test_modules_beside_the_weights_are_passed_over_and_settings_are_read(tmp_path):
    path = lightning(tmp_path, AstroClip(section(spectrum=SPECTRUM)), torch.nn.Sequential(torch.nn.Linear(2, 2)))

    assert load_model(path).section.spectrum.num_heads == 3
