"""The shipped recipes of training: the papers' sizes and settings, and batches that can be shared out."""

import pytest
import torch
from pydantic import ValidationError

from polycli.__main__ import run as command_line
from polycli.astroclip.model.astroclip import AstroClip, parameter_count
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.pretrain import read_recipe
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, SpectrumSection, TemplateSection
from polycli.astroclip.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.astroclip.training.initial import with_initial
from polycli.astroclip.training.stages import copy_encoder
from polycli.engine.batches.plan import check_division
from polycli.errors import RecipeError
from polycli.recipes import load_recipe
from polycli.requests import TrainRequest

STAGES = {
    "astroclip_spectrum": ("spectrum", 4),
    "astroclip_image": ("image", 20),
    "astroclip_image_dinov2": ("image", 20),
    "astroclip_align": ("align", 4),
    "astroclip_workshop": ("align", 4),
    "astroclip_demo_spectrum": ("spectrum", 2),
    "astroclip_demo_image": ("image", 2),
    "astroclip_demo_image_dinov2": ("image", 2),
    "astroclip_demo_align": ("align", 2),
}


STILL = {"flip": 0, "rotation": "none", "crop": "centre", "blur": [0], "noise": [0]}


def recipe_of(name: str) -> PretrainRecipe:
    return load_recipe(name, family="astroclip", verb="pretrain", schema=PretrainRecipe)


@pytest.mark.parametrize("name", STAGES)
def test_each_trains_its_stage_on_one_process_and_on_the_papers_number(name):
    stage, processes = STAGES[name]
    recipe = recipe_of(name)

    assert recipe.stage == stage
    for count in (1, 2, processes):
        check_division(recipe.train.global_batch_size, 1, count, [recipe.train.micro_batch_size])


def test_the_published_settings_are_those_of_the_papers():
    spectrum, image, align = (recipe_of(f"astroclip_{stage}") for stage in ("spectrum", "image", "align"))

    assert parameter_count(spectrum.model) == 43_177_750
    assert 302e6 < parameter_count(image.model) < 304e6
    assert (spectrum.optim.learning_rate, spectrum.optim.weight_decay, spectrum.optim.betas) == (1e-5, 0.1, (0.9, 0.95))
    assert (spectrum.masking.chunks, spectrum.masking.chunk_length) == (6, 50)
    assert (align.train.global_batch_size, align.train.steps, align.optim.learning_rate) == (1024, 10_000, 1e-4)
    assert (align.align.scale, align.align.learn_scale) == (15.5, False)
    # The configurations write `learning_rate // 500`, an integer division: the rate ends at zero.
    assert align.schedule.final_fraction == 0
    assert (image.augmentation.blur, image.augmentation.noise) == ((1.0, 0.1), (1.0, 0.1))
    assert (image.moco.momentum, image.moco.temperature, image.moco.queue_size) == (0.996, 0.2, 65536)
    astrodino = recipe_of("astroclip_image_dinov2")
    assert astrodino.model == image.model
    assert (astrodino.dinov2.local_crops, astrodino.dinov2.local_size, astrodino.dinov2.prototypes) == (8, 60, 65536)
    assert (astrodino.optim.weight_decay, astrodino.optim.final_weight_decay, astrodino.optim.layer_decay) == (
        (0.001, 0.01, 0.9)
    )


def test_the_workshop_version_inherits_what_it_does_not_change():
    recipe = recipe_of("astroclip_workshop")

    assert recipe.model.heads.image == "mlp"
    assert recipe.model.heads.embed_dim == 128
    assert recipe.align.scale == 15.5
    assert recipe.schedule.final_fraction * recipe.optim.learning_rate == pytest.approx(5e-6)


def test_the_workshop_version_shows_fluxes_to_a_network_that_was_trained_on_steins_colours(tmp_path, capsys):
    moco = AstroClip(ModelSection(image=ImageSection(name="resnet50"), heads=HeadSection(embed_dim=128, image="mlp")))
    names = {"image_encoder.backbone.": "encoder_q.", "image_encoder.mlp.": "encoder_q.fc."}
    tensors = {
        names[before] + name.removeprefix(before): value
        for name, value in moco.state_dict().items()
        for before in names
        if name.startswith(before)
    }
    torch.save({"state_dict": tensors}, tmp_path / "resnet50.ckpt")
    loaded = load_checkpoint(tmp_path / "resnet50.ckpt", quiet=True)

    section = with_initial(recipe_of("astroclip_workshop"), {"init.image": loaded}).model.image

    assert loaded.model.section.image.input == "stein"
    assert (section.name, section.size, section.input) == ("resnet50", 96, "flux")
    assert "init.image: was trained on the input stein, and sees flux here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stem", "has", "asked", "fits"),
    [
        ("linear", (), ("ivar",), True),
        ("linear", ("ivar",), ("mask", "ivar"), True),
        ("linear", ("ivar",), ("mask",), False),
        ("convolution", ("ivar",), ("ivar",), True),
        ("convolution", ("ivar",), ("ivar", "mask"), False),
        ("convolution", ("ivar", "mask"), ("mask", "ivar"), False),
    ],
)
def test_an_alignment_lets_an_encoder_see_more_only_where_weights_can_be_added(make_model, stem, has, asked, fits):
    trained = SpectrumSection(
        embed_dim=12, depth=1, num_heads=2, section_length=24, section_step=12, stem=stem, inputs=has
    )
    loaded = load_checkpoint(make_model("before", image=None, heads=None, spectrum=trained), quiet=True)
    recipe = recipe_of("astroclip_align").model_copy(
        update={"model": ModelSection(spectrum=SpectrumSection(inputs=asked), heads=HeadSection())}
    )

    if not fits:
        with pytest.raises(RecipeError, match=r"model\.spectrum\.inputs is .*, the checkpoint of init\.spectrum has"):
            with_initial(recipe, {"init.spectrum": loaded})
        return
    model = with_initial(recipe, {"init.spectrum": loaded}).model
    network = AstroClip(model.model_copy(update={"heads": None}))
    copy_encoder(loaded.model, network, "spectrum")
    flux, ivar, mask = torch.rand(2, 200), torch.rand(2, 200), torch.rand(2, 200) < 0.5
    # What is added changes nothing yet.
    torch.testing.assert_close(network.embed_spectrum(flux, ivar, mask), loaded.model.embed_spectrum(flux, ivar, mask))


def test_finetuning_predicts_rising_quantiles():
    recipe = load_recipe("astroclip_finetune", family="astroclip", verb="finetune", schema=FinetuneRecipe)

    assert recipe.model.properties.regression == ("redshift",)
    assert 0.5 in recipe.model.properties.quantiles


def test_a_run_says_where_it_began_by_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(TrainRequest(recipe="astroclip_demo_align", overrides=("init.image=here/image",)))

    assert recipe.init.image == str(tmp_path / "here/image")
    assert recipe.init.spectrum == str(tmp_path / "runs/astroclip_demo_spectrum")


def test_weights_by_the_inverse_variance_need_an_encoder_that_sees_it(capsys):
    words = ["pretrain", "astroclip", "--recipe", "astroclip_spectrum", "--dry-run", "--set", "masking.weight=ivar"]

    assert command_line(words) == 2
    assert "masking.weight ivar needs model.spectrum.inputs to name ivar" in capsys.readouterr().err
    assert command_line([*words, "--set", "model.spectrum.inputs=[ivar]"]) == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"count": 4}, None),
        ({"count": 5}, r"model\.spectrum\.templates\.count is 5, the checkpoint of init\.spectrum has 4"),
        (None, r"model\.spectrum\.templates is there, the checkpoint of init\.spectrum has absent"),
    ],
)
def test_an_alignment_has_the_templates_of_its_checkpoint(make_model, asked, words):
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "inputs": ("ivar",)}
    templates = None if asked is None else TemplateSection(count=4, highest_redshift=1.0)
    path = make_model(
        f"templates-{asked}", image=None, heads=None, spectrum=SpectrumSection(**sizes, templates=templates)
    )
    model = ModelSection.model_validate(
        {
            "spectrum": {"inputs": ["ivar"], "templates": asked or {"count": 4}},
            "heads": {"embed_dim": 8, "num_heads": 2},
        }
    )
    recipe = recipe_of("astroclip_align").model_copy(update={"model": model})
    initial = {"init.spectrum": load_checkpoint(path)}

    if words is None:
        assert with_initial(recipe, initial).model.spectrum.templates == templates
        return
    with pytest.raises(RecipeError, match=words):
        with_initial(recipe, initial)


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("astroclip_align", {"align": {"within_spectrum": 1}}, "nothing makes them differ"),
        (
            "astroclip_align",
            {"align": {"within_image": 1}, "augmentation": STILL},
            "of an image, and nothing makes them",
        ),
        ("astroclip_align", {"augmentation": {"spectrum_gaps": 0.3}}, r"align\.within_spectrum, which is 0"),
        ("astroclip_finetune", {"augmentation": {"spectrum_gaps": 0.3}}, "is for stage align of pretrain"),
    ],
)
def test_views_that_nobody_compares_or_that_are_alike_are_refused(recipe, changes, words):
    schema = FinetuneRecipe if "finetune" in recipe else PretrainRecipe
    verb = "finetune" if "finetune" in recipe else "pretrain"
    document = load_recipe(recipe, family="astroclip", verb=verb, schema=schema).model_dump(exclude_unset=True)
    with pytest.raises(ValidationError, match=words):
        schema.model_validate(document | changes)


def test_tokens_of_more_pixels_than_any_spectrum_has_are_refused_by_name():
    with pytest.raises(RecipeError, match="section_length"):
        load_recipe(
            "astroclip_demo_spectrum",
            family="astroclip",
            verb="pretrain",
            overrides=("model.spectrum.section_length=1000000000000000000",),
        )
