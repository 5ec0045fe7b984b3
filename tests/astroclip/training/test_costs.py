"""What a training of AstroCLIP costs, against counts by hand, published numbers and real forward passes."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, SpectrumSection, TemplateSection
from polycli.astroclip.recipe.training import AlignSection, PretrainRecipe
from polycli.astroclip.training.costs import pretraining_flops, spectrum_flops
from polycli.astroclip.training.image_costs import image_flops
from polycli.engine.costs.flops import flop_counter
from polycli.sections import TrainSection

SMALL = {"embed_dim": 16, "depth": 5, "num_heads": 2}
PIECES = {"section_length": 24, "section_step": 12}


def block(tokens, width):
    """Multiplications: queries, keys, values and output, the MLP, and the attention's scores and sums."""
    return 12 * tokens * width**2 + 2 * tokens**2 * width


def test_a_small_vision_transformer_costs_what_is_counted_by_hand():
    # 4 x 4 patches of 12 x 12 pixels in 3 bands, and the token of the whole image.
    expected = 16 * 3 * 12**2 * 16 + 5 * block(17, 16)
    assert image_flops(ImageSection(size=48, patch_size=12, **SMALL)) == 2 * expected


def test_a_small_specformer_costs_what_is_counted_by_hand():
    # 32 pieces of 24 of 400 pixels, 12 apart, and the token of mean and deviation; 26 features each.
    expected = 33 * 26 * 16 + 5 * block(33, 16)
    assert spectrum_flops(SpectrumSection(**SMALL, **PIECES), 400) == 2 * expected


def test_resnet_50_costs_what_is_published():
    # 4.09e9 multiplications at 224 x 224 pixels (torchvision's table), 2048 x 1000 of them in the classifier.
    published = 2 * (4.09e9 - 2048 * 1000)
    assert image_flops(ImageSection(name="resnet50", size=224)) == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize("stem", ["linear", "convolution"])
@pytest.mark.parametrize("patch_size", [12, 7])
def test_operations_of_an_image_are_those_of_a_real_forward_pass(stem, patch_size):
    section = ImageSection(size=4 * patch_size, patch_size=patch_size, **SMALL | {"stem": stem})
    found = counted(VisionTransformer(section), torch.rand(1, 3, section.size, section.size))
    assert image_flops(section) == found


@pytest.mark.parametrize("stem", ["linear", "convolution"])
@pytest.mark.parametrize("inputs", [(), ("ivar", "mask")])
def test_operations_of_a_spectrum_are_those_of_a_real_forward_pass(stem, inputs):
    templates = TemplateSection(count=4, highest_redshift=0.2, log_step=4e-3, last=3600 + 399 * 0.8)
    section = SpectrumSection(**SMALL, **PIECES, stem=stem, inputs=inputs, templates=templates if inputs else None)
    found = counted(SpecFormer(section), torch.rand(1, 400), torch.rand(1, 400), torch.rand(1, 400) < 0.5)
    assert spectrum_flops(section, 400) == found


def counted(model, *inputs):
    counter = flop_counter()
    # The counter knows no fused attention of CPUs.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(*inputs)
    return counter.get_total_flops()


def test_second_views_cost_as_much_as_first_ones():
    image, spectrum = ImageSection(), SpectrumSection()
    plain = PretrainRecipe(
        family="astroclip",
        verb="pretrain",
        stage="align",
        model=ModelSection(image=image, spectrum=spectrum, heads=HeadSection()),
        train=TrainSection(steps=1, global_batch_size=1, micro_batch_size=1),
    )
    spectra = plain.model_copy(update={"align": AlignSection(within_spectrum=1.0)})
    images = plain.model_copy(update={"align": AlignSection(within_image=1.0)})
    flops = [pretraining_flops(recipe, 7781) for recipe in (plain, spectra, images)]
    assert flops[1] - flops[0] == 3 * spectrum_flops(spectrum, 7781)
    assert flops[2] - flops[0] == 3 * image_flops(image)
