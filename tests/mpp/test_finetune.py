"""A checkpoint trains on: fields that are new to it are appended, what should train moves, and nothing else does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polycli.engine.deepspeed.optimizers import build_optimizer
from polycli.engine.layers import factors_of
from polycli.engine.task import World
from polycli.errors import StoreError, UserError
from polycli.mpp import finetune, load_model, pretrain
from polycli.requests import TrainRequest
from polycli.workflow.train import open_training_stores, read_training_recipe

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
PRETRAIN = """
family: mpp
verb: pretrain
model: {fields: [swe.height, swe.velocity], embed_dim: 16, num_heads: 2, blocks: 2, patch_size: 4, layer_scale: 0.1}
data: {history: 3, time_stride: 2, validation_windows: 5, workers: 0}
train: {steps: 2, global_batch_size: 4, micro_batch_size: 2, validate_every: 2, checkpoint_every: 2}
"""
FINETUNE = """
family: mpp
verb: finetune
data: {validation_windows: 5, workers: 0}
optim: {learning_rate: 1.0e-2}
train: {steps: 3, global_batch_size: 4, micro_batch_size: 2, validate_every: 3, checkpoint_every: 3}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tune.yaml"
    path.write_text(FINETUNE, encoding="utf-8")
    return str(path)


@pytest.fixture
def checkpoint(tmp_path, store_factory):
    (tmp_path / "base.yaml").write_text(PRETRAIN, encoding="utf-8")
    store = store_factory("old", fields=["swe.height"])
    pretrain.run(TrainRequest(recipe=str(tmp_path / "base.yaml"), data=(store,), output=tmp_path / "base"))
    return tmp_path / "base"


def tune(recipe, checkpoint, store, output, *overrides, **options):
    request = TrainRequest(
        recipe=recipe, checkpoint=checkpoint, data=(store,), output=output, overrides=overrides, **options
    )
    return finetune.run(request)


def moved(before, after) -> set[str]:
    """Names of the parameters that differ where both models have the same shape, or that are of another one."""
    old = dict(before.named_parameters())
    return {
        name
        for name, value in after.named_parameters()
        if old[name].shape != value.shape or not torch.equal(old[name], value)
    }


@pytest.mark.parametrize(
    ("freeze", "still"),
    [
        ("none", ()),
        ("processor", ("blocks.",)),
        ("middle", ("blocks.", "embed.", "debed.out_proj.")),
    ],
)
def test_every_parameter_that_should_train_moves_and_no_other(
    tmp_path, recipe, checkpoint, store_factory, freeze, still
):
    store = store_factory("new", fields=["swe.height", "swe.tracer"], grid=(18, 22), boundary="open", seed=1)
    tune(recipe, checkpoint, store, tmp_path / "run", f"freeze={freeze}")
    before, after = load_model(checkpoint), load_model(tmp_path / "run")
    assert after.section.fields == ("swe.height", "swe.velocity", "swe.tracer")
    # The idle bias of the published norm layers has no gradient in any training.
    trainable = {name for name, parameter in type(after)(after.section).named_parameters() if parameter.requires_grad}
    # A field that is not in the data has no gradient; weight decay moves its column all the same.
    assert moved(before, after) == {name for name in trainable if not name.startswith(still)}
    new = after.space_bag.weight.detach()[:, 2]
    start = before.space_bag.weight.detach().mean(dim=1) * (2 / 3) ** 0.5
    assert not torch.allclose(new, start, atol=1e-4), "the new field's column trains"
    assert torch.allclose(new, start, atol=0.1), "and began from the mean of the old ones"


def test_a_checkpoint_may_be_trained_on_with_jitter_places_noise_and_unrolled(
    tmp_path, recipe, checkpoint, store_factory
):
    store = store_factory("walls", fields=["swe.height"], boundary="wall", seed=1)
    switches = ("model.jitter=training", "init.absolute_position=walls", "objective.noise=0.1", "objective.unroll=2")
    tune(recipe, checkpoint, store, tmp_path / "run", *switches)
    before, after = load_model(checkpoint), load_model(tmp_path / "run")
    assert (before.section.jitter, before.section.absolute_position) == ("none", "none")
    assert (after.section.jitter, after.section.absolute_position) == ("training", "walls")
    assert after.position.height.abs().sum() > 0, "places are learnt"
    tune(recipe, tmp_path / "run", store, tmp_path / "again", "init.absolute_position=none")
    assert load_model(tmp_path / "again").section.absolute_position == "none"
    assert load_model(tmp_path / "again").section.jitter == "training", "the checkpoint's, unless said"


def test_history_and_stride_are_the_checkpoints_and_may_be_shortened(tmp_path, recipe, checkpoint, store_factory):
    store = store_factory("new", fields=["swe.height"], seed=1)
    tune(recipe, checkpoint, store, tmp_path / "as_it_was")
    tune(recipe, checkpoint, store, tmp_path / "shorter", "data.history=2")
    described = [
        json.loads(next((tmp_path / run / "checkpoints").glob("*/model.json")).read_text(encoding="utf-8"))
        for run in ("as_it_was", "shorter")
    ]
    assert described[0]["data"]["history"] == 3
    assert described[1]["data"]["history"] == 2
    assert all(each["data"]["time_stride"] == 2 for each in described)
    assert set(described[0]["trained_on"]) == {"new", "old (--checkpoint)"}


def test_another_time_step_and_other_sides_are_said_and_learned(tmp_path, recipe, checkpoint, store_factory, capsys):
    alike = store_factory("alike", fields=["swe.height"], seed=1)
    other = store_factory("other", fields=["swe.height"], seed=2, boundary="wall")
    capsys.readouterr()
    tune(recipe, checkpoint, alike, tmp_path / "alike", "train.steps=1")
    assert "apart" not in capsys.readouterr().err
    tune(recipe, checkpoint, other, tmp_path / "other", "train.steps=1", "data.time_stride=1")
    said = capsys.readouterr().err
    # The checkpoint saw every second frame of a store whose frames are 0.1 apart.
    assert "other: its frames are 0.1 apart, the checkpoint was trained on frames 0.2 apart" in said
    assert "other: its sides are x wall, y wall, the checkpoint has met x periodic, y periodic" in said


def test_data_of_which_the_checkpoint_knows_nothing_is_refused_with_both_ways_on(
    tmp_path, recipe, checkpoint, store_factory
):
    store = store_factory("alien", fields=["mhd.current"])
    with pytest.raises(StoreError, match=r"knows none of the fields mhd\.current; it knows swe\.height") as caught:
        tune(recipe, checkpoint, store, tmp_path / "run")
    assert "init.map" in str(caught.value)
    assert "init.unmatched=allow" in str(caught.value)
    assert not (tmp_path / "run").exists()
    tune(recipe, checkpoint, store, tmp_path / "run", "init.map={mhd.current: swe.height}", "train.steps=1")
    tune(recipe, checkpoint, store, tmp_path / "anew", "init.unmatched=allow", "train.steps=1")


def test_without_a_checkpoint_the_message_names_the_option(recipe):
    with pytest.raises(UserError, match="add --checkpoint RUN"):
        finetune.run(TrainRequest(recipe=recipe))


def test_a_dry_run_names_the_parameters_of_the_grown_model_and_writes_nothing(
    tmp_path, recipe, checkpoint, store_factory
):
    store = store_factory("new", fields=["swe.height", "swe.tracer"], seed=1)
    document = tune(recipe, checkpoint, store, tmp_path / "run", dry_run=True)
    tune(recipe, checkpoint, store, tmp_path / "run")
    assert document["parameters"] == sum(p.numel() for p in load_model(tmp_path / "run").parameters())
    assert document["recipe"]["data"]["history"] == 3
    assert document["run"]["would"] == "begin"
    assert tune(recipe, checkpoint, store, tmp_path / "run", dry_run=True)["run"]["would"] == "nothing"


@pytest.mark.distributed
def test_two_processes_take_the_same_steps_as_one(tmp_path, recipe, checkpoint, store_factory):
    store = store_factory("new", fields=["swe.height", "swe.tracer"], seed=1)
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")
    for name, nproc in (("one", ()), ("two", ("--nproc", "2"))):
        line = [*["-m", "polycli", "finetune", "mpp", "--recipe"], recipe, "--checkpoint", checkpoint, "--data", store]
        done = subprocess.run(
            [sys.executable, *line, "--output", tmp_path / name, "--set", "init.drop_path=0", *nproc],
            env={key: value for key, value in os.environ.items() if key not in launcher},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (dict(load_model(tmp_path / name).named_parameters()) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parity
@pytest.mark.skipif(not PARITY.is_dir(), reason="the reference values of the original projects are not here")
def test_a_published_checkpoint_learns_a_new_field(tmp_path, recipe, store_factory):
    store = store_factory("new", fields=["compressible_ns.density", "mhd.current"], frames=18, grid=(30, 45))
    published = PARITY / "mpp_avit_rel.ckpt.tar"
    tune(recipe, published, store, tmp_path / "run", "train.micro_batch_size=1")
    before, after = load_model(published), load_model(tmp_path / "run")
    assert after.section.fields == (*before.section.fields, "mhd.current")
    idle = {name for name, parameter in type(after)(after.section).named_parameters() if not parameter.requires_grad}
    assert moved(before, after) == {name for name, _ in after.named_parameters()} - idle


def test_fields_of_the_vocabulary_that_nothing_trained_are_as_strange_as_new_ones(
    recipe, checkpoint, store_factory, tmp_path
):
    """The checkpoint's vocabulary has swe.velocity, of which its training saw nothing."""
    store = store_factory("other", fields=["swe.velocity"])
    with pytest.raises(StoreError, match=r"trained on none of the fields swe\.velocity; it was trained on swe\.height"):
        tune(recipe, checkpoint, store, tmp_path / "refused")
    tune(recipe, checkpoint, store, tmp_path / "run", "init.unmatched=allow")
    described = json.loads((tmp_path / "run" / "checkpoints" / "step-00000003" / "model.json").read_text())
    found = {name: (tuple(physics["fields"]), physics["dt"]) for name, physics in described["trained"].items()}
    assert found == {
        "other": (("swe.velocity",), pytest.approx(0.2)),
        "old (--checkpoint)": (("swe.height",), pytest.approx(0.2)),
    }


@pytest.mark.parametrize("new_fields", [False, True])
def test_each_parameter_is_in_one_group_at_the_rate_of_its_layer(
    tmp_path, recipe, checkpoint, store_factory, new_fields
):
    store = store_factory("new", fields=["swe.height", *(["swe.tracer"] * new_fields)], seed=1)
    request = TrainRequest(
        recipe=recipe,
        checkpoint=checkpoint,
        data=(store,),
        output=tmp_path / "run",
        overrides=(
            "optim.layer_decay=0.5",
            "optim.weight_decay=0.1",
            "init.conditions=[dt]",
            "init.absolute_position=all",
        ),
    )
    settings = read_training_recipe(request, finetune.TRAINING)
    stores = open_training_stores(finetune.TRAINING, settings, verify=False)
    task = finetune.TRAINING.make_task(settings, stores, World())
    groups = build_optimizer(settings.optim, task.model, factors_of(task, settings.optim)).param_groups
    # The idle biases of the published norm layers train in no mode.
    trains = [(name, one) for name, one in task.model.named_parameters() if one.requires_grad]
    names = {id(parameter): name for name, parameter in trains}
    found = [(names[id(one)], one.ndim, group) for group in groups for one in group["params"]]
    assert sorted(name for name, _, _ in found) == sorted(names.values())
    # Two blocks: stem, block 0, block 1, head.
    layers = {"model.embed.": 0.125, "model.blocks.0.": 0.25, "model.blocks.1.": 0.5, "model.debed.": 1.0}
    layers["model.space_bag."] = 1.0 if new_fields else 0.125
    # Told of by this finetuning: they act below the head and learn at its whole rate.
    told = {"model.position.": 1.0, "model.conditioning.": 1.0}
    assert all(any(name.startswith(start) for name in names.values()) for start in told)
    layers |= told
    for name, dimensions, group in found:
        assert group["lr_scale"] == next(factor for start, factor in layers.items() if name.startswith(start)), name
        assert group["weight_decay"] == (0.1 if dimensions > 1 else 0.0), name
