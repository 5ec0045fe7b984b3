"""The pair of encoders against the original's reference values, and where ours is right and the original is not."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.model.astroclip import AstroClip, parameter_count
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.model.vision_transformer import INPUT_DEVIATION, INPUT_MEAN
from polycli.astroclip.model.weights import load_model
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, PropertySection, SpectrumSection
from polycli.astroclip.recipe.preparing import MockSection
from polycli.astroclip.sources.mock.source import MockReader
from polycli.errors import CheckpointError

TINY = ModelSection(
    image=ImageSection(size=24, patch_size=12, embed_dim=16, depth=2, num_heads=2, layer_scale=0.1),
    spectrum=SpectrumSection(embed_dim=16, depth=1, num_heads=2),
    heads=HeadSection(embed_dim=8, num_heads=2),
)


def relative_error(found, expected):
    return float((found.detach() - expected).norm() / expected.norm())


@pytest.fixture(params=["astroclip_model.safetensors", "astroclip.ckpt"])
def original(request, shared):
    """The model, from either packing, beside the reference values."""
    reference = load_file(shared / "parity" / "astroclip_model.safetensors")
    path = shared / "parity" / request.param
    return load_model(path, vit_heads=4, n_head=4, spectrum_heads=4), reference


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return AstroClip(TINY).eval()


def test_embeddings_are_those_of_the_original(original):
    model, reference = original

    assert relative_error(model.embed_image(reference["input.image"]), reference["output.image_embedding"]) < 1e-5
    spectra = model.embed_spectrum(reference["input.spectrum"])
    assert relative_error(spectra, reference["output.spectrum_embedding"]) < 1e-5
    assert relative_error(model.image_features(reference["input.image"]), reference["output.dino_cls"]) < 1e-5


def test_the_published_form_is_the_default(original):
    section = original[0].section

    for part, names in {
        "image": ("input", "pool", "stem", "name"),
        "spectrum": ("inputs", "stem"),
        "heads": ("image", "image_tokens", "image_residual"),
    }.items():
        for name in names:
            found = getattr(section, part)
            assert getattr(found, name) == type(found).model_fields[name].default
    assert (section.heads.image_tokens, section.heads.image_residual, section.image.input) == ("patches", False, "rgb")


def test_a_batch_of_one_is_embedded_as_it_is_among_others(original):
    model, reference = original

    for place in range(4):
        image = model.embed_image(reference["input.image"][place : place + 1])
        spectrum = model.embed_spectrum(reference["input.spectrum"][place : place + 1])
        assert relative_error(image, reference["output.image_embedding"][place : place + 1]) < 1e-5
        assert relative_error(spectrum, reference["output.spectrum_embedding"][place : place + 1]) < 1e-5


def test_attention_weights_are_those_of_each_galaxy_and_of_torchs_own_attention(original):
    model, reference = original
    head = model.spectrum_encoder.cross_attention
    spectrum = reference["input.spectrum"]
    tokens = model.spectrum_encoder.backbone(spectrum)
    attention = torch.nn.MultiheadAttention(32, 4, kdim=48, vdim=48, batch_first=True)
    attention.load_state_dict(head.multihead_attn.state_dict())
    query = head.query.expand(4, -1, -1)

    _, expected = attention(query, tokens, tokens, average_attn_weights=False)

    weights = model.spectrum_attention(SpectrumInputs(spectrum))
    torch.testing.assert_close(weights, expected[:, :, 0])
    torch.testing.assert_close(weights[2:3], model.spectrum_attention(SpectrumInputs(spectrum[2:3])))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 4))
    assert model.image_attention(reference["input.image"]).shape == (4, 4, 144)


def test_published_sizes_have_the_published_number_of_parameters():
    specformer = parameter_count(ModelSection(spectrum=SpectrumSection()))
    workshop = HeadSection(embed_dim=128, num_heads=4, image="mlp")
    with_head = parameter_count(ModelSection(spectrum=SpectrumSection(), heads=workshop))
    resnet = parameter_count(ModelSection(image=ImageSection(name="resnet50")))

    assert specformer == 43_177_750
    assert with_head - specformer == 361_984
    assert resnet == 25_557_032 - (2048 * 1000 + 1000)  # torchvision's resnet50 without its classifier
    # DINOv2 ViT-L/14 at 518 px has 304,368,640: patches of 12 and 145 positions instead.
    vit = parameter_count(ModelSection(image=ImageSection()))
    assert vit == 304_368_640 - 3 * (14**2 - 12**2) * 1024 - (1 + 37**2 - 145) * 1024


def test_the_image_head_adds_nothing_to_its_last_layers_and_the_spectrum_head_does(tiny):
    for encoder in (tiny.image_encoder, tiny.spectrum_encoder):
        torch.nn.init.zeros_(encoder.mlp.decoder.weight)
        torch.nn.init.zeros_(encoder.mlp.decoder.bias)

    assert not tiny.embed_image(torch.rand(2, 3, 24, 24)).any()
    assert tiny.embed_spectrum(torch.randn(2, 400)).any()


def test_embedding_twice_gives_the_same_and_the_head_has_dropout_in_training_alone(tiny):
    images = torch.rand(2, 3, 24, 24)

    assert torch.equal(tiny.embed_image(images), tiny.embed_image(images))
    assert not torch.equal(tiny.train().embed_image(images), tiny.embed_image(images))


@pytest.mark.parametrize(
    ("section", "method", "message"),
    [
        (ModelSection(image=TINY.image), "embed_spectrum", "for images alone: it has no spectrum encoder"),
        (ModelSection(spectrum=TINY.spectrum), "embed_image", "for spectra alone: it has no image encoder"),
        (ModelSection(spectrum=TINY.spectrum), "predict_properties", "embeds and predicts no properties"),
        (ModelSection(image=TINY.image), "image_attention", "no cross-attention"),
    ],
)
def test_a_model_of_one_modality_says_what_it_cannot(section, method, message):
    with pytest.raises(CheckpointError, match=message):
        getattr(AstroClip(section), method)(torch.zeros(1, 3, 24, 24))


def test_properties_come_in_their_units_and_quantiles_in_order():
    properties = PropertySection(
        regression=("redshift", "logm"),
        classification={"morphology": ("spiral", "smooth")},
        quantiles=(0.16, 0.5, 0.84),
    )
    model = AstroClip(TINY.model_copy(update={"properties": properties})).eval()
    model.properties.centre.copy_(torch.tensor([0.2, 1000.0]))
    model.properties.scale.copy_(torch.tensor([0.1, 1.0]))

    found = model.predict_properties(torch.rand(3, 3, 24, 24), torch.randn(3, 400))

    assert found["redshift"].shape == found["logm"].shape == (3, 3)
    assert (found["logm"].diff(dim=1) >= 0).all()
    assert (found["logm"] - 1000).abs().max() < 100
    torch.testing.assert_close(found["morphology"].sum(dim=1), torch.ones(3))
    with pytest.raises(CheckpointError, match="from its spectrum encoder too: no spectrum given"):
        model.predict_properties(torch.rand(3, 3, 24, 24))


def test_the_first_layer_sees_sky_as_zero_and_its_noise_as_one():
    torch.manual_seed(0)
    section = ImageSection(size=144, embed_dim=256, depth=1, num_heads=2)
    first = AstroClip(ModelSection(image=section)).image_encoder.backbone.patch_embed.proj
    noise = torch.randn(8, 3, 144, 144)
    with torch.no_grad():
        seen = first(0.14 + 0.10 * noise)
        # A convolution with weights uniform within one over the root of its inputs has a gain of one over root three.
        assert seen.std().item() == pytest.approx(3**-0.5, rel=0.05)
        assert torch.allclose(first(torch.full((1, 3, 12, 12), 0.14)).std(), torch.tensor(0.0), atol=0.05)


@pytest.mark.parametrize("kind", INPUT_MEAN)
def test_the_first_layer_starts_from_the_mean_and_deviation_of_the_input_that_it_sees(kind):
    numbers = np.arange(40)
    cutouts = MockReader(MockSection()).read(np.zeros(40, np.int32), numbers).image
    seen = model_input(torch.from_numpy(cutouts), 144, kind=kind)
    torch.manual_seed(0)
    section = ImageSection(size=144, embed_dim=8, depth=1, num_heads=2, input=kind)
    first = AstroClip(ModelSection(image=section)).image_encoder.backbone.patch_embed.proj
    torch.manual_seed(0)
    plain = AstroClip(ModelSection(image=section.model_copy(update={"input": "rgb"}))).image_encoder.backbone

    # Forty galaxies have a bright one more or less: pixels of fluxes are far from normal.
    assert float(seen.mean()) == pytest.approx(INPUT_MEAN[kind], abs=0.2 * INPUT_DEVIATION[kind])
    assert 0.5 < float(seen.std()) / INPUT_DEVIATION[kind] < 2
    ratio = INPUT_DEVIATION["rgb"] / INPUT_DEVIATION[kind]
    torch.testing.assert_close(first.weight, plain.patch_embed.proj.weight * ratio)


def test_images_are_pooled_by_the_class_token_or_the_mean_of_the_patches():
    images = torch.rand(2, 3, 24, 24)
    for pool in ("class", "patches"):
        torch.manual_seed(0)
        section = ImageSection(size=24, embed_dim=16, depth=1, num_heads=2, pool=pool)
        model = AstroClip(ModelSection(image=section)).eval()
        with torch.no_grad():
            tokens = model.image_encoder.backbone(images)
            expected = tokens[:, 0] if pool == "class" else tokens[:, 1:].sum(dim=1) / 4
            assert torch.allclose(model.image_features(images), expected, atol=1e-6)
