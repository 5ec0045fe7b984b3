"""A training with mixed micro-batches learns what one without them learns, on any ranks and after any resume."""

import sys
from pathlib import Path

import pytest

from polycli.errors import UserError
from polycli.mpp import finetune, pretrain
from polycli.requests import TrainRequest
from tests.mpp.test_pretrain import RECIPE, SWITCHES, metrics_of, model_file, python, train

MIXED = ("data.draws_per_step=4", "data.mixed_micro_batches=true", "train.micro_batch_size=4", "model.drop_path=0")


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


@pytest.fixture
def stores(store_factory):
    """A folder of stores that share neither fields, nor grid, nor boundaries."""
    store_factory("swe", physics="shallow_water", grid=(16, 8))
    store_factory("ns", physics="incompressible_ns", grid=(10, 12), boundary="wall")
    return store_factory("reaction", physics="diffusion_reaction", boundary="open", grid=(8, 16)).parent


def test_equal_steps_of_equal_samples_teach_the_same_mixed_or_not(recipe, stores, tmp_path):
    plain = ("data.draws_per_step=4", "train.micro_batch_size=2", "model.drop_path=0", "train.steps=4")
    train(recipe, stores, tmp_path / "plain", *plain)
    train(recipe, stores, tmp_path / "mixed", *MIXED, "train.steps=4")
    for one, other in zip(metrics_of(tmp_path / "plain"), metrics_of(tmp_path / "mixed"), strict=True):
        assert other.pop("kind") == one.pop("kind")
        assert other == {key: pytest.approx(value, rel=1e-4) for key, value in one.items()}
    validated = [line for line in metrics_of(tmp_path / "mixed") if "validation/loss" in line]
    assert {"validation/swe/nrmse", "validation/ns/nrmse", "validation/reaction/nrmse"} <= validated[-1].keys()


def test_with_every_switch_a_resumed_run_equals_one_that_was_never_stopped(recipe, stores, tmp_path):
    switches = (*MIXED[:3], *SWITCHES, "model.conditions=[dt]", "data.largest_time_stride=2", "train.validate_every=2")
    switches = (*switches, "train.checkpoint_every=2")
    train(recipe, stores, tmp_path / "whole", *switches, "train.steps=4")
    train(recipe, stores, tmp_path / "cut", *switches, "train.steps=2")
    train(recipe, stores, tmp_path / "cut", *switches, "train.steps=4")
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    weights = [model_file(tmp_path / name, 4).read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_the_plan_counts_the_largest_mixture(recipe, stores, tmp_path, capsys):
    request = TrainRequest(recipe=recipe, data=(stores,), output=tmp_path / "run", overrides=MIXED, dry_run=True)
    document = pretrain.run(request)
    assert document["batch"]["micro_batch_size"] == {"any": 4}
    assert document["batch"]["accumulation"] == {"any": 2}
    said = capsys.readouterr().out
    assert "8 samples of 4 draws, 8 on the process, as micro-batches 2 x 4 of several datasets" in said


def test_a_checkpoint_of_another_network_cannot_be_finetuned_so(recipe, stores, tmp_path):
    fno = (tmp_path / "fno.yaml", "model: {kind: fno, width: 8, modes: 2, blocks: 1}")
    fno[0].write_text(
        "\n".join(fno[1] if line.startswith("model:") else line for line in RECIPE.splitlines()), encoding="utf-8"
    )
    train(str(fno[0]), stores, tmp_path / "fno", "train.steps=1")
    tune = RECIPE.replace("verb: pretrain", "verb: finetune").replace("model: {", "# {")
    (tmp_path / "tune.yaml").write_text(tune, encoding="utf-8")
    request = TrainRequest(
        recipe=str(tmp_path / "tune.yaml"),
        checkpoint=tmp_path / "fno",
        data=(stores,),
        output=tmp_path / "tuned",
        overrides=MIXED[:3],
    )
    with pytest.raises(UserError, match=r"data\.mixed_micro_batches is for checkpoints of an AViT, not of kind fno"):
        finetune.run(request)
    assert not (tmp_path / "tuned").exists()


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_resume_exactly_and_learn_as_one_does(recipe, stores, tmp_path):
    text = RECIPE.replace("draws_per_step: 2", "draws_per_step: 4, mixed_micro_batches: true")
    Path(recipe).write_text(text.replace("micro_batch_size: 2", "micro_batch_size: 4"), encoding="utf-8")
    script = Path(__file__).with_name("pretrain_ranks.py")
    command = [sys.executable, str(script), recipe, str(stores), str(tmp_path)]
    done = python("-c", f"import sys; from polycli.launch import start_ranks; sys.exit(start_ranks(2, {command!r}))")
    assert done.returncode == 0, done.stderr
    train(recipe, stores, tmp_path / "alone", "model.drop_path=0")

    whole = metrics_of(tmp_path / "whole")
    assert metrics_of(tmp_path / "cut") == whole
    for one, two in zip(metrics_of(tmp_path / "alone"), whole, strict=True):
        assert two.pop("kind") == one.pop("kind")
        assert two == {key: pytest.approx(value, rel=2e-3) for key, value in one.items()}
