"""Stores to runs, stage after stage: what they leave, that they resume exactly, and what is refused before a byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from polycli.astroclip import eval as evaluation
from polycli.astroclip import finetune, load_model, pretrain
from polycli.astroclip.training.batches import ObjectBatches
from polycli.errors import CheckpointError, PreemptedError, RecipeError, StoreError, UserError
from polycli.recipes import load_recipe
from polycli.requests import EvalRequest, TrainRequest
from tests.earlier import as_schema_1

NEWEST = "checkpoints/step-00000004/model.safetensors"
REST = """
data: {validation_objects: 4, workers: 1}
optim: {learning_rate: 3.0e-3}
schedule: {name: constant}
train: {steps: 4, global_batch_size: 8, micro_batch_size: 2, seed: 5, validate_every: 2, checkpoint_every: 2}
log: {every: 1}
"""
RECIPES = {
    "spectrum": """
family: astroclip
verb: pretrain
stage: spectrum
model: {spectrum: {embed_dim: 16, depth: 1, num_heads: 2, section_length: 60, section_step: 40}}
masking: {chunk_length: 12}
""",
    "image": """
family: astroclip
verb: pretrain
stage: image
model: {image: {size: 48, embed_dim: 16, depth: 2, num_heads: 2, layer_scale: 0.1}}
moco: {queue_size: 20, projection: 8, momentum: 0.9}
""",
    "dinov2": """
family: astroclip
verb: pretrain
stage: image
objective: {kind: dinov2}
model: {image: {size: 48, embed_dim: 16, depth: 2, num_heads: 2, layer_scale: 0.1}}
dinov2: {local_crops: 2, local_size: 24, prototypes: 12, head_width: 8, bottleneck: 4, momentum: 0.5}
""",
    "masked": """
family: astroclip
verb: pretrain
stage: image
objective: {kind: masked}
model: {image: {size: 48, embed_dim: 16, depth: 2, num_heads: 2, layer_scale: 0.1}}
masked_image: {decoder_width: 8, decoder_depth: 1, decoder_heads: 2}
""",
    "align": """
family: astroclip
verb: pretrain
stage: align
model: {heads: {embed_dim: 8, num_heads: 2}}
""",
    "finetune": """
family: astroclip
verb: finetune
model: {properties: {regression: [redshift, logm], classification: {morphology: []}, hidden: [8]}}
""",
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """A recipe file of each stage."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, text in RECIPES.items():
        (folder / f"{name}.yaml").write_text(text + REST, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoders(recipes, mock_store, tmp_path_factory):
    """Runs of both encoders, and their `--set init` for the align stage."""
    folder = tmp_path_factory.mktemp("encoders")
    for stage in ("image", "spectrum"):
        train(recipes / f"{stage}.yaml", mock_store, folder / stage, "train.steps=2")
    return tuple(f"init.{stage}={folder / stage}" for stage in ("image", "spectrum"))


def train(recipe: Path, store: Path, output: Path, *overrides: str, checkpoint: Path | None = None, **options) -> dict:
    verb = pretrain if checkpoint is None else finetune
    request = TrainRequest(
        recipe=str(recipe), data=(store,), output=output, overrides=overrides, checkpoint=checkpoint, **options
    )
    return verb.run(request)


def polycli(*arguments: object) -> subprocess.CompletedProcess:
    # Tests that train in this process have made it a rank, which its children must not inherit.
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    return subprocess.run(
        [sys.executable, "-m", "polycli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in launcher},
    )


def metrics_of(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without what depends on time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in metrics_of(run) if line["kind"] == "train"]


def description_of(run: Path) -> dict:
    newest = max((run / "checkpoints").glob("step-*"))
    return json.loads((newest / "model.json").read_text(encoding="utf-8"))


@pytest.mark.distributed
def test_the_command_line_aligns_on_two_processes_and_finetunes(recipes, encoders, mock_store, tmp_path):
    settings = [word for setting in encoders for word in ("--set", setting)]
    shared = ["--data", mock_store, "--json"]
    aligned = polycli(
        "pretrain", "astroclip", "--recipe", recipes / "align.yaml", "--output", tmp_path / "align", "--nproc", 2,
        *settings, *shared,
    )  # fmt: skip
    assert aligned.returncode == 0, aligned.stderr
    tuned = polycli(
        "finetune", "astroclip", "--recipe", recipes / "finetune.yaml", "--checkpoint", tmp_path / "align",
        "--output", tmp_path / "tuned", *shared,
    )  # fmt: skip
    assert tuned.returncode == 0, tuned.stderr

    assert json.loads(aligned.stdout)["step"] == 4
    assert {"validation/loss", "validation/recall_at_1"} <= json.loads(aligned.stdout)["validation"].keys()
    described = description_of(tmp_path / "align")
    assert described["stage"] == "align"
    assert described["model"]["image"]["embed_dim"] == 16
    assert described["data"]["image"]["bands"] == ["g", "r", "z"]
    assert described["data"]["spectrum"]["pixels"] == 7781
    assert set(described["trained_on"]) == {"mock", "mock (init.image)", "mock (init.spectrum)"}
    scores = json.loads(tuned.stdout)["validation"]
    assert {"validation/redshift/r2", "validation/logm/r2", "validation/morphology/accuracy"} <= scores.keys()
    model = load_model(tmp_path / "tuned")
    found = model.predict_properties(torch.rand(2, 3, 48, 48), torch.randn(2, 7781))
    assert set(found) == {"redshift", "logm", "morphology"}


@pytest.mark.parametrize("stage", ["spectrum", "image"])
def test_a_run_of_one_encoder_says_what_it_is_and_is_read_back(recipes, mock_store, tmp_path, stage):
    train(recipes / f"{stage}.yaml", mock_store, tmp_path / "run")

    model = load_model(tmp_path / "run")
    other = "image" if stage == "spectrum" else "spectrum"
    assert getattr(model.section, stage) is not None
    assert getattr(model.section, other) is None
    assert description_of(tmp_path / "run")["data"][other] is None
    lines = metrics_of(tmp_path / "run")
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    repeated = load_recipe(str(tmp_path / "run" / "recipe.yaml"), family="astroclip", verb="pretrain")
    assert repeated.data.stores == (str(mock_store.resolve()),)


def test_weights_of_the_spectrum_stage_alone_are_scored_on_what_their_training_hid(
    recipes, mock_store, tmp_path, capsys
):
    """With other stretches hidden the error was another number, and nothing said so."""

    def hidden(checkpoint: Path) -> dict:
        quick = ("bootstrap_samples=20", "report=false", "properties=[redshift]", "labels=[]")
        request = EvalRequest(checkpoint=checkpoint, data=(mock_store,), output=tmp_path / "out", overrides=quick)
        return evaluation.run(request)["datasets"]["mock"]["reconstruction"]

    train(recipes / "spectrum.yaml", mock_store, tmp_path / "run", "masking.chunks=3", "masking.chunk_length=7")
    alone = tmp_path / "alone" / "any.safetensors"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "run/checkpoints/step-00000004/model.safetensors", alone)
    found = hidden(alone)
    assert (found["masking"]["chunks"], found["masking"]["chunk_length"]) == (3, 7)
    assert found == hidden(tmp_path / "run/checkpoints/step-00000004")

    # Schema 1 had nothing of it: the recipe of the run says it, and of the pair without a run it is said.
    pair = as_schema_1(tmp_path / "run/checkpoints/step-00000004")
    assert hidden(pair) == found
    (tmp_path / "run/recipe.yaml").unlink()
    assert "does not say how its training hid parts of spectra" not in capsys.readouterr().err
    assert hidden(pair)["masking"]["chunks"] != 3
    assert "does not say how its training hid parts of spectra" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("stage", "zero"),
    [
        ("spectrum", 2),
        ("image", 0),
        ("image", 2),
        ("image", 3),
        ("dinov2", 3),
        ("masked", 1),
        ("align", 1),
    ],
)
def test_a_run_that_was_stopped_and_resumed_equals_one_never_stopped(
    recipes, encoders, mock_store, tmp_path, monkeypatch, stage, zero
):
    overrides = (f"engine.zero_stage={zero}", *(encoders if stage == "align" else ()))
    train(recipes / f"{stage}.yaml", mock_store, tmp_path / "whole", *overrides)
    ordinary = ObjectBatches.micro_batches

    def stop_when_reading_step_three(self, step, world):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return ordinary(self, step, world)

    monkeypatch.setattr(ObjectBatches, "micro_batches", stop_when_reading_step_three)
    with pytest.raises(PreemptedError):
        train(recipes / f"{stage}.yaml", mock_store, tmp_path / "cut", *overrides)
    monkeypatch.setattr(ObjectBatches, "micro_batches", ordinary)
    stopped_at = metrics_of(tmp_path / "cut")[-1]["step"]
    train(recipes / f"{stage}.yaml", mock_store, tmp_path / "cut", *overrides, resume="must")

    assert 0 < stopped_at < 4
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    for name in (NEWEST, NEWEST.replace("model.", "weights.")):
        if (tmp_path / "whole" / name).is_file():
            whole, cut = (load_file(tmp_path / run / name) for run in ("whole", "cut"))
            assert whole.keys() == cut.keys()
            assert all(torch.equal(value, cut[key]) for key, value in whole.items())


def test_the_zero_stage_does_not_change_what_the_momentum_encoder_does(recipes, mock_store, tmp_path):
    for stage in (0, 3):
        train(recipes / "image.yaml", mock_store, tmp_path / str(stage), f"engine.zero_stage={stage}")

    assert losses_of(tmp_path / "0") == pytest.approx(losses_of(tmp_path / "3"), rel=1e-5)


def test_the_teacher_is_what_is_exported_and_aligned_and_the_steps_say_how_sure_it_is(
    recipes, encoders, mock_store, tmp_path
):
    train(recipes / "dinov2.yaml", mock_store, tmp_path / "run")
    folder = (tmp_path / "run" / NEWEST).parent
    teacher, student = load_file(folder / "model.safetensors"), load_file(folder / "weights.safetensors")

    assert description_of(tmp_path / "run")["objective"] == "dinov2"
    moved = [name for name, value in teacher.items() if not torch.equal(value, student[f"network.{name}"])]
    assert len(moved) > 20
    assert int(student["step"]) == 4
    last = [line for line in metrics_of(tmp_path / "run") if line["kind"] == "train"][-1]
    assert {"crops", "patches", "koleo", "teacher_entropy", "teacher_kl", "spread"} <= last.keys()
    initial = (f"init.image={tmp_path / 'run'}", encoders[1])
    train(recipes / "align.yaml", mock_store, tmp_path / "align", *initial, "align.freeze=[image, spectrum]")
    aligned = load_file(tmp_path / "align" / NEWEST)
    assert all(torch.equal(aligned[name], value) for name, value in teacher.items())


def test_vectors_that_do_not_vary_are_warned_of(recipes, mock_store, tmp_path, capsys):
    train(recipes / "dinov2.yaml", mock_store, tmp_path / "run", "train.steps=1", "model.image.layer_scale=1.0e-12")
    assert "validation images hardly vary" in capsys.readouterr().err


def test_micro_batches_bound_memory_and_change_nothing(recipes, encoders, mock_store, tmp_path):
    heads = ("model.heads.dropout=0", *encoders)
    for size in (8, 2):
        train(recipes / "align.yaml", mock_store, tmp_path / str(size), f"train.micro_batch_size={size}", *heads)

    assert losses_of(tmp_path / "8") == pytest.approx(losses_of(tmp_path / "2"), rel=1e-5)


def test_frozen_encoders_stay_bit_for_bit_and_heads_train(recipes, encoders, mock_store, tmp_path):
    train(recipes / "align.yaml", mock_store, tmp_path / "run", "align.freeze=[image, spectrum]", *encoders)

    found = load_model(tmp_path / "run").state_dict()
    for setting in encoders:
        began = load_model(setting.split("=")[1]).state_dict()
        assert all(torch.equal(found[name], value) for name, value in began.items())
    first = load_file(tmp_path / "run" / "checkpoints" / "step-00000002" / "model.safetensors")
    last = load_file(tmp_path / "run" / NEWEST)
    query = "image_encoder.cross_attention.query"
    assert not torch.equal(first[query], last[query])


def test_the_scale_of_the_loss_can_be_learned_and_is_restored(recipes, encoders, mock_store, tmp_path):
    train(recipes / "align.yaml", mock_store, tmp_path / "run", "align.learn_scale=true", *encoders)

    scales = [line["scale"] for line in metrics_of(tmp_path / "run") if line["kind"] == "train"]
    assert scales[0] == pytest.approx(15.5)
    assert len(set(scales)) == 4


def test_what_an_alignment_cannot_start_from_is_refused_before_anything_is_written(
    recipes, encoders, mock_store, tmp_path
):
    runs = {setting.split("=")[0].split(".")[1]: setting.split("=")[1] for setting in encoders}
    swapped = (f"init.image={runs['spectrum']}", f"init.spectrum={runs['spectrum']}")

    with pytest.raises(CheckpointError, match=r"init\.image: .* is for spectra alone: it has no image encoder"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", *swapped)
    with pytest.raises(RecipeError, match=r"model\.image\.embed_dim is 32, the checkpoint of init\.image has 16"):
        train(
            recipes / "align.yaml", mock_store, tmp_path / "run", *encoders, "model.image={embed_dim: 32, num_heads: 2}"
        )
    with pytest.raises(RecipeError, match=r"needs init\.spectrum"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", encoders[0])
    sizes = ("model.image={size: 48, embed_dim: 16, depth: 1, num_heads: 2}", "align.freeze=[image]")
    with pytest.raises(RecipeError, match=r"random without init\.image"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", *sizes, encoders[1])
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_other_wavelengths_or_pixels_is_refused(recipes, encoders, mock_store, tmp_path):
    overrides = []
    for setting, part, name, value in (
        (encoders[0], "image", "pixel_scale_arcsec", 0.5),
        (encoders[1], "spectrum", "first", 3700.0),
    ):
        place, run = setting.split("=")
        export = tmp_path / part
        export.mkdir()
        newest = max((Path(run) / "checkpoints").glob("step-*"))
        # Weights that do not say what they are: model.json alone does.
        save_file(load_file(newest / "model.safetensors"), export / "model.safetensors")
        described = json.loads((newest / "model.json").read_text())
        described["data"][part][name] = value
        (export / "model.json").write_text(json.dumps(described))
        overrides.append(f"{place}={export}")

    with pytest.raises(StoreError, match=r"beside init\.image: images with pixel scale arcsec 0\.262, 0\.5 was"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", overrides[0], encoders[1])
    with pytest.raises(StoreError, match=r"beside init\.spectrum: spectra with first 3600\.0, 3700\.0 was expected"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", encoders[0], overrides[1])


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("image", "model.image.size=96", "cutouts are 64 x 64 pixels, smaller than the model's input"),
        ("spectrum", "masking.chunk_length=40", "too short for stretches of 40"),
        ("spectrum", "model.spectrum.max_length=100", "7781 pixels are 195 tokens"),
        ("spectrum", "train.global_batch_size=7", "7 is not divisible by 2"),
        ("image", "model.heads={}", "stage image does not train model.heads"),
        ("dinov2", "model.image.name=resnet50", "objective.kind dinov2 hides patches"),
        ("dinov2", "dinov2.local_size=20", "local_size 20 is not divisible by model.image.patch_size 12"),
        ("dinov2", "dinov2.local_size=72", "cutouts are 64 x 64 pixels, smaller than a small crop"),
        ("dinov2", "optim.ema_decay=0.9", "the teacher of objective.kind dinov2 is an average"),
        ("dinov2", "dinov2.least_masked=0.6", "least_masked 0.6 is more than most_masked 0.5"),
        ("spectrum", "objective.kind=masked", "objective.kind masked is for stage image; the stage is spectrum"),
        ("image", "stage=spectrum", "stage spectrum trains model.spectrum, which is absent"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(recipes, mock_store, tmp_path, stage, override, message):
    with pytest.raises(UserError, match=message):
        train(recipes / f"{stage}.yaml", mock_store, tmp_path / "run", override)
    assert not (tmp_path / "run").exists()


def test_pieces_longer_than_the_spectra_are_refused_before_a_run_is_begun(recipes, mock_store, tmp_path):
    """The first step refused them, and the folder that it left took no other recipe."""
    image = "model.image={size: 48, embed_dim: 12, depth: 1, num_heads: 2}"
    spectrum = "model.spectrum={embed_dim: 12, depth: 1, num_heads: 2, section_length: 9000, section_step: 9}"
    with pytest.raises(UserError, match="the spectra are 7781 pixels long, and at least 9001 were expected"):
        train(recipes / "align.yaml", mock_store, tmp_path / "run", image, spectrum)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        (
            "image",
            ("model.image.size=72", "model.image.patch_size=12"),
            "--set model.image.size=60 fits with patches of 12; of 64",
        ),
        ("image", ("model.image.size=70", "model.image.patch_size=12"), "the nearest that are: 60 and 72"),
        ("spectrum", ("masking.chunk_length=4000",), "are too short for stretches of 4000"),
        ("spectrum", ("optim.layer_decay=0.5",), "has no layers in one order"),
    ],
)
def test_a_dry_run_makes_the_checks_of_the_run_and_names_the_sizes_that_fit(
    recipes, mock_store, tmp_path, stage, override, message
):
    said = []
    for dry_run in (True, False):
        with pytest.raises(UserError, match=message) as refused:
            train(recipes / f"{stage}.yaml", mock_store, tmp_path / "run", *override, dry_run=dry_run)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert not (tmp_path / "run").exists()


def test_without_data_the_line_that_makes_some_is_told(recipes, tmp_path):
    with pytest.raises(UserError, match="polycli prepare astroclip --source mock"):
        pretrain.run(TrainRequest(recipe=str(recipes / "image.yaml"), output=tmp_path / "run"))


def test_a_dry_run_counts_and_writes_nothing(recipes, mock_store, tmp_path):
    plan = train(recipes / "spectrum.yaml", mock_store, tmp_path / "run", dry_run=True, json=True, nproc=2)

    assert plan["batch"] == {
        "global_batch_size": 8,
        "samples_per_process": 4,
        "micro_batch_size": 2,
        "accumulation": 2,
    }
    assert plan["parameters"] == sum(p.numel() for p in load_model_of(recipes).parameters())
    assert not (tmp_path / "run").exists()

    train(recipes / "spectrum.yaml", mock_store, tmp_path / "run", "train.steps=1")
    for steps, would in ((1, "nothing"), (2, "resume")):
        again = train(recipes / "spectrum.yaml", mock_store, tmp_path / "run", f"train.steps={steps}", dry_run=True)
        assert again["run"]["would"] == would


def test_a_dry_run_of_self_distillation_counts_the_teacher_and_the_crops(recipes, mock_store, tmp_path):
    plans = [
        train(recipes / "dinov2.yaml", mock_store, tmp_path / "run", f"dinov2.local_crops={crops}", dry_run=True)
        for crops in (0, 2, 4)
    ]
    memory = [plan["memory_per_device"] for plan in plans]
    head = 16 * 8 + 8 + 8 * 8 + 8 + 8 * 4 + 4 + 12 * 4

    assert all(one["teacher"] == 4 * (plan["parameters"] + head) for one, plan in zip(memory, plans, strict=True))
    assert all(one["total"] == sum(size for name, size in one.items() if name != "total") for one in memory)
    # Each small crop adds as much as any other one.
    for counted in ([one["activations"] for one in memory], [plan["flops_per_step"] for plan in plans]):
        assert counted[2] - counted[1] == pytest.approx(counted[1] - counted[0], rel=1e-3)
        assert counted[1] > counted[0]


def load_model_of(recipes):
    from polycli.astroclip.model.astroclip import AstroClip

    recipe = load_recipe(str(recipes / "spectrum.yaml"), family="astroclip", verb="pretrain")
    return AstroClip(recipe.model)


def test_two_stores_of_one_name_both_train_and_the_rows_of_both_are_known(recipes, prepare, tmp_path):
    def objects(path: Path, seed: int, test: float) -> Path:
        prepare("mock", path, "mock.objects=24", "mock.size=32", f"mock.seed={seed}", f"split.test={test}")
        return path

    twins = [objects(tmp_path / folder / "mock.zarr", seed, 0.3) for seed, folder in enumerate(("north", "south"))]
    request = TrainRequest(
        recipe=str(recipes / "spectrum.yaml"),
        data=tuple(twins),
        output=tmp_path / "run",
        overrides=("train.steps=1",),
    )
    pretrain.run(request)

    names = {"north-mock", "south-mock"}
    assert json.loads((tmp_path / "run" / "data.json").read_text()).keys() == names
    for seed in range(2):
        again = objects(tmp_path / f"again{seed}.zarr", seed, 0.6)  # some that trained are for tests here
        with pytest.raises(StoreError, match=r"trained on \d+ of the \d+ objects"):
            evaluation.run(EvalRequest(checkpoint=tmp_path / "run", data=(again,)))
    quick = ("report=false", "bootstrap_samples=20", "neighbours=2", "properties=[]", "labels=[]")
    assert evaluation.run(EvalRequest(checkpoint=tmp_path / "run", overrides=quick))["datasets"].keys() == names
