"""Properties from embeddings: heads that learn, encoders that stay or move, few objects, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.astroclip import finetune, load_model
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.recipe.model import (
    POSTERIOR_LEVELS,
    AugmentationSection,
    HeadSection,
    ImageSection,
    ModelSection,
    PropertySection,
    SpectrumSection,
)
from polycli.astroclip.training.objectives import PropertyFit
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import CheckpointError, RecipeError, RunError, StoreError, UserError
from polycli.requests import TrainRequest
from polycli.store.reader import open_store

RECIPE = """
family: astroclip
verb: finetune
model: {properties: {modalities: [spectrum], regression: [redshift], hidden: [16], dropout: 0.0}}
data: {validation_objects: 4, workers: 0}
optim: {learning_rate: 3.0e-2, weight_decay: 0.0}
schedule: {name: constant}
train: {steps: 80, global_batch_size: 8, micro_batch_size: 8, seed: 5, validate_every: 40, checkpoint_every: 80}
log: {every: 1}
"""
SECTION = ModelSection(
    image=ImageSection(size=48, embed_dim=16, depth=1, num_heads=2, layer_scale=0.1),
    spectrum=SpectrumSection(embed_dim=16, depth=1, num_heads=2, section_length=60, section_step=40),
    heads=HeadSection(embed_dim=8, num_heads=2),
)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


def export(folder, section, seed=0):
    torch.manual_seed(seed)
    folder.mkdir()
    description = ModelDescription(
        family="astroclip", verb="pretrain", version="0", step=1, model=section.model_dump(mode="json")
    )
    write_model(folder, AstroClip(section).state_dict(), description)
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    """An aligned pair of small random encoders, as `polycli export` leaves one."""
    return export(tmp_path / "aligned", SECTION)


def tune(recipe, store, checkpoint, output, *overrides, **options):
    return finetune.run(
        TrainRequest(recipe=recipe, data=(store,), checkpoint=checkpoint, output=output, overrides=overrides, **options)
    )


def losses_of(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def test_a_head_learns_its_objects_and_the_encoders_stay(recipe, mock_store, checkpoint, tmp_path):
    tune(recipe, mock_store, checkpoint, tmp_path / "run")

    losses = losses_of(tmp_path / "run")
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
    before, after = load_model(checkpoint).state_dict(), load_model(tmp_path / "run").state_dict()
    kept = [name for name in after if not name.startswith("properties.")]
    assert kept
    assert not any(name.startswith("image_encoder") for name in kept)  # the head sees spectra alone
    assert all(torch.equal(after[name], before[name]) for name in kept)


def test_encoders_train_where_the_recipe_says_so(recipe, mock_store, checkpoint, tmp_path):
    modalities = "model.properties.modalities=[image, spectrum]"
    tune(recipe, mock_store, checkpoint, tmp_path / "run", "freeze=false", "train.steps=2", modalities)

    before, after = load_model(checkpoint).state_dict(), load_model(tmp_path / "run").state_dict()
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert any(name.startswith("image_encoder.backbone.blocks") for name in moved)
    assert any(name.startswith("spectrum_encoder.cross_attention") for name in moved)
    # What no vector depends on is not worn away by weight decay.
    assert "image_encoder.backbone.pos_embed" not in moved
    assert "spectrum_encoder.backbone.head.weight" not in moved


def test_a_run_does_not_go_on_from_the_vectors_of_other_weights(recipe, mock_store, checkpoint, tmp_path):
    tune(recipe, mock_store, checkpoint, tmp_path / "run", "train.steps=2", "schedule.name=constant")
    moved = checkpoint.rename(tmp_path / "moved")
    tune(recipe, mock_store, moved, tmp_path / "run", "train.steps=3", "schedule.name=constant")

    other = export(tmp_path / "other", SECTION, seed=1)
    for steps in (3, 4):
        with pytest.raises(RunError, match=r"checkpoint had weights of the hash [0-9a-f]{12}, has"):
            tune(recipe, mock_store, other, tmp_path / "run", f"train.steps={steps}", "schedule.name=constant")


def test_a_limit_trains_on_so_many_and_says_which(recipe, mock_store, checkpoint, tmp_path):
    tune(recipe, mock_store, checkpoint, tmp_path / "run", "train.steps=2", limit=8)

    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["mock"]["training"] == 8


def test_quantiles_come_out_in_order_and_classes_as_probabilities(recipe, mock_store, checkpoint, tmp_path):
    tune(
        recipe, mock_store, checkpoint, tmp_path / "run", "train.steps=2",
        "model.properties.quantiles=[0.16, 0.5, 0.84]", "model.properties.classification={morphology: []}",
    )  # fmt: skip

    model = load_model(tmp_path / "run")
    found = model.predict_properties(flux=torch.randn(3, 7781))
    assert (found["redshift"].diff(dim=1) >= 0).all()
    assert found["morphology"].shape == (3, len(model.section.properties.classification["morphology"]))


@pytest.mark.parametrize("posterior", ["quantiles", "flow"])
def test_posteriors_learn_and_are_read_again_from_their_checkpoint(recipe, mock_store, checkpoint, tmp_path, posterior):
    tune(recipe, mock_store, checkpoint, tmp_path / "run", f"model.properties.posterior={posterior}")

    losses = losses_of(tmp_path / "run")
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.05
    model = load_model(tmp_path / "run")
    assert model.section.properties.quantiles == POSTERIOR_LEVELS
    found = model.predict_properties(flux=torch.randn(3, 7781))["redshift"]
    assert found.shape == (3, len(POSTERIOR_LEVELS))
    assert (found.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("posterior", ["none", "quantiles", "flow"])
def test_the_posterior_of_a_constant_is_refused_by_name(
    recipe, mock_store, checkpoint, tmp_path, monkeypatch, posterior
):
    monkeypatch.setattr(ObjectStore, "target", lambda _, name, rows: np.where(np.arange(len(rows)) % 3, 0.25, np.nan))
    settings = (f"model.properties.posterior={posterior}", "train.steps=1")
    if posterior == "none":
        tune(recipe, mock_store, checkpoint, tmp_path / "run", *settings)
        return
    with pytest.raises(StoreError, match=r"column redshift: all \d+ training objects that have a value have 0.25"):
        tune(recipe, mock_store, checkpoint, tmp_path / "run", *settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_a_column_is_learnt_whatever_its_unit(recipe, mock_store, checkpoint, tmp_path, monkeypatch, size):
    read = ObjectStore.target
    monkeypatch.setattr(ObjectStore, "target", lambda store, name, rows: size * read(store, name, rows))
    tune(recipe, mock_store, checkpoint, tmp_path / "run", "train.steps=1", "train.checkpoint_every=1")

    head, store = load_model(tmp_path / "run").property_head(), ObjectStore(open_store(mock_store, family="astroclip"))
    truth = store.target("redshift", store.rows("train"))
    assert [float(head.centre), float(head.scale)] == pytest.approx([truth.mean(), truth.std()], rel=1e-5)


@pytest.mark.parametrize("size", [1e-40, 1e42])
def test_a_column_that_float32_does_not_hold_is_refused(recipe, mock_store, checkpoint, tmp_path, monkeypatch, size):
    monkeypatch.setattr(ObjectStore, "target", lambda _, name, rows: size * np.linspace(0.5, 1, len(rows)))
    with pytest.raises(
        StoreError, match=f"column redshift: its largest number is of size {size:.3g}".replace("+", "\\+")
    ):
        tune(recipe, mock_store, checkpoint, tmp_path / "run", "train.steps=1")
    assert not (tmp_path / "run").exists()


def test_a_column_in_two_units_is_neither_learnt_together_nor_compared(
    recipe, mock_store, checkpoint, tmp_path, monkeypatch
):
    shutil.copytree(mock_store, tmp_path / "other.zarr")
    units = {mock_store.name: "nJy", "other.zarr": "uJy"}
    monkeypatch.setattr(ObjectStore, "units", property(lambda store: {"logm": units[store.path.name]}))
    overrides = ("model.properties.regression=[logm]", "train.steps=2", "train.checkpoint_every=2")
    data = (mock_store, tmp_path / "other.zarr")
    wanted = TrainRequest(
        recipe=recipe, data=data, checkpoint=checkpoint, output=tmp_path / "both", overrides=overrides
    )
    with pytest.raises(StoreError, match=r"column logm is in uJy, and in nJy in "):
        finetune.run(wanted)
    tune(recipe, mock_store, checkpoint, tmp_path / "run", *overrides)
    loaded = load_checkpoint(tmp_path / "run", allow_untrained=False)
    assert loaded.described("units") == {"logm": "nJy"}
    loaded.check_units({"logm": "nanoJansky"}, "a.zarr")
    loaded.check_units({"logm": ""}, "a.zarr")
    with pytest.raises(StoreError, match=r"a\.zarr: column logm is in uJy, and the model learnt it in nJy"):
        loaded.check_units({"logm": "uJy"}, "a.zarr")


def test_unknown_values_do_not_count():
    properties = PropertySection(modalities=("spectrum",), regression=("a", "b"), classification={"c": ("x", "y")})
    fit = PropertyFit(
        AstroClip(ModelSection(spectrum=SECTION.spectrum, properties=properties)), AugmentationSection(), bands=()
    )
    vectors = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan], [2.0, torch.nan]])
    labels = {"numbers": numbers, "classes": torch.tensor([[0], [-1], [-1]])}

    loss, metrics = fit.eval()({"vectors": vectors, **labels})

    predicted, scores, _ = fit.network.properties(vectors)
    squared = ((predicted[[0, 2], 0, 0] - numbers[[0, 2], 0]) ** 2).mean()
    entropy = -scores[0][0].log_softmax(dim=0)[0]
    torch.testing.assert_close(loss, (squared + entropy) / 2)
    assert metrics["numbers"].shape == (3, 2)


def test_the_pinball_loss_is_lowest_at_the_quantile():
    properties = PropertySection(modalities=("spectrum",), regression=("a",), quantiles=(0.2,))
    fit = PropertyFit(
        AstroClip(ModelSection(spectrum=SECTION.spectrum, properties=properties)), AugmentationSection(), bands=()
    )
    values = torch.linspace(0, 1, 101)[:, None]

    losses = [float(fit._number_loss(torch.full((101, 1, 1), guess), values)) for guess in (0.1, 0.2, 0.3)]

    assert losses[1] < losses[0]
    assert losses[1] < losses[2]


SUPERVISED = {
    "image": "model.image={name: convnext, size: 48, embed_dim: 32, depth: 4, layer_scale: 0.1}",
    "spectrum": "model.spectrum={name: conv_attention, embed_dim: 8, inputs: [ivar]}",
}


@pytest.mark.parametrize("modality", ["image", "spectrum"])
def test_direct_supervision_begins_from_random_weights_without_a_checkpoint(recipe, mock_store, tmp_path, modality):
    sees = f"model.properties.modalities=[{modality}]"
    settings = (SUPERVISED[modality], sees, "model.properties.source=backbone", "freeze=false", "train.steps=40")
    tune(recipe, mock_store, None, tmp_path / "run", *settings, "optim.learning_rate=3.0e-3")

    losses = losses_of(tmp_path / "run")
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    model = load_model(tmp_path / "run")
    assert getattr(model.section, modality).name in {"convnext", "conv_attention"}
    # The whole network trains: nothing of it is what the seed made.
    torch.manual_seed(5)
    fresh = AstroClip(model.section).state_dict()
    moved = [name for name, value in model.state_dict().items() if not torch.equal(fresh[name], value)]
    assert any(".backbone." in name for name in moved)


def test_the_command_line_asks_for_a_checkpoint_only_where_the_recipe_needs_one(mock_store, tmp_path, capsys):
    def line(recipe, *settings):
        words = [
            "finetune",
            "astroclip",
            "--recipe",
            recipe,
            "--data",
            str(mock_store),
            "--output",
            str(tmp_path / "run"),
        ]
        return command_line([*words, "--dry-run", *(word for setting in settings for word in ("--set", setting))])

    assert line("astroclip_supervised_image", "model.image.size=64") == 0
    assert "parameters" in capsys.readouterr().out
    assert line("astroclip_finetune") == 2
    assert "finetune starts from a checkpoint, and none was given" in capsys.readouterr().err


def test_random_encoders_are_not_frozen(recipe, mock_store, tmp_path):
    with pytest.raises(RecipeError, match="without a checkpoint they are random"):
        tune(recipe, mock_store, None, tmp_path / "run", SUPERVISED["spectrum"])
    with pytest.raises(RecipeError, match="names spectrum, and there is no spectrum encoder"):
        tune(recipe, mock_store, None, tmp_path / "run", SUPERVISED["image"], "freeze=false")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("model.properties.regression=[redshit]", StoreError, "redshift"),
        ("model.properties.regression=[morphology]", StoreError, "column morphology is text, numbers were expected"),
        ("model.properties.classification={logm: []}", StoreError, "column logm is of floats, classes were expected"),
        ("model.properties.regression=[]", RecipeError, "nothing to predict"),
    ],
)
def test_columns_that_do_not_fit_are_refused(recipe, mock_store, checkpoint, tmp_path, override, error, message):
    with pytest.raises(error, match=message):
        tune(recipe, mock_store, checkpoint, tmp_path / "run", override)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_the_encoder_is_refused(recipe, mock_store, tmp_path):
    images = export(tmp_path / "images", ModelSection(image=SECTION.image))

    with pytest.raises(CheckpointError, match="without spectrum encoder"):
        tune(recipe, mock_store, images, tmp_path / "run")
    with pytest.raises(UserError, match="starts from a checkpoint"):
        tune(recipe, mock_store, None, tmp_path / "run")
