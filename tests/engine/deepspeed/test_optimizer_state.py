"""The optimizer's state as files have it: by parameter, cut anywhere, whole or refused."""

import pytest
import torch

from polycli.checkpoints.durable import write_tensors
from polycli.engine.deepspeed.backend import start_engine
from polycli.engine.deepspeed.optimizer_state import captured_groups, captured_state, restore_state
from polycli.errors import CheckpointError
from polycli.sections import EngineSection, OptimSection


@pytest.fixture
def engine_of(toy, world):
    """An engine around the toy's network that has taken some steps."""

    def start(stage: int, optimizer: str = "adamw", steps: int = 0):
        task = toy.ToyTask()
        engine = start_engine(task.model, OptimSection(name=optimizer), EngineSection(zero_stage=stage), world)
        for step in range(steps):
            (batch,) = task.micro_batches(step, world)
            engine.set_gradient_accumulation_boundary(True)
            engine.backward(engine(batch.load())[0])
            engine.step()
        return engine

    return start


def write_pieces(folder, tensors, cut):
    """The same state in two files, every flattened piece cut in two at `cut` of its elements."""
    files = ({}, {})
    for name, tensor in tensors.items():
        key, start, parameter = name.split("/", 2)
        if not start or key.startswith(":"):
            files[0][name] = tensor
            continue
        middle = int(cut * len(tensor))
        files[1][f"{key}/{start}/{parameter}"] = tensor[:middle]
        files[0][f"{key}/{int(start) + middle}/{parameter}"] = tensor[middle:]
    paths = [folder / "rank-0.safetensors", folder / "rank-1.safetensors"]
    for path, content in zip(paths, files, strict=True):
        write_tensors(path, content)
    return paths


@pytest.mark.parametrize("optimizer", ["adamw", "adan"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("cut", [0.0, 0.3, 1.0])
def test_state_in_other_pieces_is_the_same_state(engine_of, world, tmp_path, optimizer, stage, cut):
    before = engine_of(stage, optimizer, steps=3)
    tensors, groups = captured_state(before, world), captured_groups(before)
    assert any(tensor.abs().sum() > 0 for tensor in tensors.values())
    after = engine_of((stage + 1) % 4, optimizer)
    restore_state(after, world, write_pieces(tmp_path, tensors, cut), groups)
    found = captured_state(after, world)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert captured_groups(after) == groups


def test_names_say_the_state_the_first_element_and_the_parameter(engine_of, world):
    names = captured_state(engine_of(2, steps=1), world).keys()
    assert {name for name in names if name.endswith("first.weight")} == {
        "exp_avg/0/first.weight",
        "exp_avg_sq/0/first.weight",
        "step//first.weight",
    }


def test_a_piece_that_no_file_has_is_named(engine_of, world, tmp_path):
    tensors = captured_state(engine_of(2, steps=1), world)
    tensors["exp_avg/7/first.weight"] = tensors.pop("exp_avg/0/first.weight")[7:]
    write_tensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"'exp_avg' of first.weight: 505 of 512 elements from element 0"):
        restore_state(engine_of(1), world, [tmp_path / "a.safetensors"], [{}, {}])


def test_parameters_that_stepped_apart_cannot_be_stepped_together(engine_of, world, tmp_path):
    tensors = captured_state(engine_of(0, steps=2), world)
    tensors["step//first.weight"] += 1
    write_tensors(tmp_path / "a.safetensors", tensors)
    restore_state(engine_of(0), world, [tmp_path / "a.safetensors"], [{}, {}])
    with pytest.raises(CheckpointError, match="have taken different numbers of steps"):
        restore_state(engine_of(2), world, [tmp_path / "a.safetensors"], [{}, {}])


def test_other_parameter_groups_are_refused(engine_of, world, tmp_path):
    tensors = captured_state(engine_of(0, "adan", steps=1), world)
    write_tensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(CheckpointError, match="1 parameter group, the optimizer has 2"):
        restore_state(engine_of(0, "adan"), world, [tmp_path / "a.safetensors"], [{"step": 1}])


def test_what_the_recipe_says_is_not_overruled_by_what_was_saved(engine_of, world, tmp_path):
    before = engine_of(0, "dadapt_adan", steps=2)
    for group in before.basic_optimizer.param_groups:
        group["weight_decay"] = 0.5
    write_tensors(tmp_path / "a.safetensors", captured_state(before, world))
    groups = captured_groups(before)
    assert all(group["d"] > 0 and group["k"] == 2 for group in groups)
    after = engine_of(0, "dadapt_adan")
    decay = [group["weight_decay"] for group in after.basic_optimizer.param_groups]
    restore_state(after, world, [tmp_path / "a.safetensors"], groups)
    assert [group["weight_decay"] for group in after.basic_optimizer.param_groups] == decay
    for old, new in zip(before.basic_optimizer.param_groups, after.basic_optimizer.param_groups, strict=True):
        assert (old["d"], old["k"]) == (new["d"], new["k"])
        assert torch.equal(old["gsq_weighted"], new["gsq_weighted"])
