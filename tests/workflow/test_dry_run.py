"""A dry run follows from a family's sketch and the recipe's numbers."""

import json
from pathlib import Path

import pytest

from polycli.engine.task import World
from polycli.errors import RecipeError
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.workflow.dry_run import plan
from polycli.workflow.sketch import Sketch, Words, sketch_of
from tests.engine.toy import ToyTask


def recipe(**engine):
    return PretrainRecipe.model_validate(
        {
            "family": "mpp",
            "verb": "pretrain",
            "model": {"embed_dim": 16, "num_heads": 2, "blocks": 2},
            "schedule": {"warmup_steps": 50},
            "train": {"steps": 20, "global_batch_size": 12, "micro_batch_size": 3},
            "engine": engine,
        }
    )


def test_batches_memory_and_lengths_follow_from_the_recipe():
    sketch = Sketch(recipe=recipe(), parameters=1000, flops_per_step=5.0, micro_batch_size=3, activations=77)
    document = plan(sketch, output=Path("runs/a"), processes=2).document()
    assert document["batch"] == {
        "global_batch_size": 12,
        "samples_per_process": 6,
        "micro_batch_size": 3,
        "accumulation": 2,
    }
    # ZeRO 2 over two processes: whole parameters, half of gradients, of the copy and of AdamW's two states; a bucket.
    memory = {"parameters": 4000, "gradients": 2000, "optimizer": 6000, "communication": 4000, "activations": 77}
    assert document["memory_per_device"] == {**memory, "total": sum(memory.values())}
    assert (document["steps"], document["warmup_steps"], document["samples"]) == (20, 20, 240)
    assert (document["flops_per_step"], document["flops"]) == (5.0, 100.0)
    assert (document["assumed"], document["data"]) == (None, {})
    assert document["recipe"] == recipe().model_dump(mode="json")
    assert json.loads(json.dumps(document)) == document


def test_micro_batches_that_differ_by_dataset_are_shared_out_one_by_one():
    sketch = Sketch(recipe=recipe(), parameters=1, flops_per_step=1.0, micro_batch_size={"a": 1, "b": 3}, draws=2)
    assert plan(sketch, output=Path("a"), processes=2).document()["batch"]["accumulation"] == {"a": 6, "b": 2}
    with pytest.raises(RecipeError, match="not divisible by 18"):
        plan(sketch, output=Path("a"), processes=3)


def test_people_read_one_line_for_each_thing_with_the_familys_own_words():
    words = Words(sample=("pear", "pears"), parameters=", all new", first={"stage": "ripe"}, data={"tree": "5 pears"})
    sketch = Sketch(recipe=recipe(offload=True), parameters=2**28, flops_per_step=1e9, micro_batch_size=3, words=words)
    text = plan(sketch, output=Path("runs/a"), processes=2).text()
    lines = dict(line.split("  ", 1) for line in text.partition("# the plan\n")[2].splitlines())
    assert {name: sentence.strip() for name, sentence in lines.items()} == {
        "stage": "ripe",
        "output": "runs/a",
        "parameters": "268,435,456, all new",
        "processes": "2, ZeRO stage 2, float32",
        "batch": "12 pears, 6 on each process, 3 at a time",
        "steps": "20 (20 to warm up), 240 pears",
        "FLOPs": "1e+09 per step, 2e+10 in all",
        "memory": "1.69 GiB per device: 1.00 GiB parameters, 0.50 GiB gradients, 190.7 MiB communication, "
        "1.50 GiB offloaded to cpu; activations come on top",
        "data tree": "5 pears",
    }
    assert "global_batch_size: 12" in text


def test_a_task_alone_can_be_sketched():
    task = ToyTask()
    task.recipe = recipe()
    sketch = sketch_of(task)
    assert sketch.parameters == 16 * 32 + 32 + 2 * 32 + 32 * 4 + 4
    assert (sketch.flops_per_step, sketch.micro_batch_size) == (1e6, 3)
    assert len(task.micro_batches(0, World())) == 1
