"""What --dry-run says: numbers from formulas, nothing allocated, nothing written."""

import json

import pytest

from polycli.errors import RecipeError
from polycli.mpp import pretrain
from polycli.mpp.training.sketch import patches
from polycli.recipes import load_recipe
from polycli.requests import TrainRequest


def test_the_plan_of_the_users_own_line_is_printed_without_data(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    document = pretrain.run(TrainRequest(recipe="mpp_b", dry_run=True, nproc=8))

    said = capsys.readouterr().out
    assert "115,608,012" in said
    assert "embed_dim: 768" in said
    assert list(tmp_path.iterdir()) == []
    assert json.loads(json.dumps(document)) == document
    assert document["parameters"] == 115_608_012
    assert document["batch"]["samples_per_process"] == 5
    assert document["samples"] == 40 * 200_000
    # Two operations per weight and token, three passes; attention and the patches' convolutions add some.
    tokens = 16 * (128 // 16) ** 2
    assert document["flops_per_step"] == pytest.approx(40 * 3 * 2 * 115.6e6 * tokens, rel=0.15)


def test_the_plan_counts_the_windows_of_given_stores(store_factory, tmp_path):
    path = store_factory("swe")
    before = sorted(tmp_path.rglob("*"))

    request = TrainRequest(
        recipe="mpp_small", data=(path,), dry_run=True, json=True, overrides=("data.history=4", "train.steps=7")
    )
    document = pretrain.run(request)

    assert document["data"]["swe"]["training"] == {"trajectories": 4, "windows": 4 * (12 - 4)}
    assert document["data"]["swe"]["validation"] == {"split": "validation", "trajectories": 1, "windows": 8}
    assert (document["steps"], document["warmup_steps"]) == (7, 7)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("overrides", "processes", "words"),
    [
        ((), 3, "is not divisible by 15"),
        (("engine.zero_stage=2",), 1, "dadapt_adan"),
    ],
)
def test_what_cannot_be_trained_cannot_be_planned(overrides, processes, words):
    with pytest.raises(RecipeError, match=words):
        pretrain.run(TrainRequest(recipe="mpp_b", dry_run=True, nproc=processes, overrides=overrides))


@pytest.mark.parametrize(
    ("grid", "patch_size", "said"),
    [
        ((64, 32), 16, ", 4 x 2 patches of 16"),
        (
            (40, 24),
            16,
            (
                ", 3 x 2 patches of 16 after the axes are lengthened to 48 x 32 by their boundaries; "
                "model.patch_size 4 or 8 fits as it is"
            ),
        ),
        ((30, 30), 4, ", 8 x 8 patches of 4 after the axes are lengthened to 32 x 32 by their boundaries"),
    ],
)
def test_the_plan_says_how_patches_lie_on_a_grid_and_which_sizes_fit(grid, patch_size, said):
    recipe = load_recipe("mpp_ti", family="mpp", verb="pretrain", overrides=(f"model.patch_size={patch_size}",))
    assert patches(recipe.model, grid) == said
