"""Recipes: inheritance, overrides, and every problem at once with its line and the nearest key."""

import os

import pytest

from polycli.errors import RecipeError
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.recipes import (
    default_recipe,
    dump_recipe,
    load_any_recipe,
    load_recipe,
    shipped_names,
    shipped_recipes,
)

BASE = """# A base
family: mpp
verb: pretrain
model: {embed_dim: 96, num_heads: 4, blocks: 4}
data:
  weights: {swe: 2, ns: 1}
train:
  steps: 100
  global_batch_size: 32
  micro_batch_size: 8
"""


@pytest.fixture
def write(tmp_path):
    def writer(name, text):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    writer("base", BASE)
    return writer


def pretrain(reference, *overrides):
    return load_recipe(reference, family="mpp", verb="pretrain", overrides=overrides, schema=PretrainRecipe)


def problems(action):
    with pytest.raises(RecipeError) as caught:
        action()
    assert caught.value.exit_code == 2
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


def test_a_recipe_inherits_key_by_key_and_replaces_what_is_no_mapping(write):
    child = write("child", "extends: base.yaml\ndata:\n  weights: {ns: 5}\ntrain:\n  steps: 7\n")
    recipe = pretrain(child)
    assert recipe.data.weights == {"swe": 2, "ns": 5}
    assert (recipe.train.steps, recipe.train.global_batch_size) == (7, 32)


def test_inheritance_goes_over_several_files_and_folders(write, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "middle.yaml").write_text("extends: ../base.yaml\ntrain: {steps: 9, seed: 3}\n")
    child = write("child", "extends: inner/middle.yaml\ntrain: {seed: 4}\n")
    assert (pretrain(child).train.steps, pretrain(child).train.seed) == (9, 4)


def test_recipes_that_extend_each_other_are_refused(write):
    write("one", "extends: two.yaml\n")
    two = write("two", "extends: one.yaml\n")
    with pytest.raises(RecipeError, match="circle: two -> one -> two"):
        pretrain(two)


def test_a_missing_base_is_named_with_the_line_that_asks_for_it(write):
    child = write("child", "family: mpp\nextends: mpp_demoo\n")
    with pytest.raises(RecipeError, match=r"child.yaml:2: `extends: mpp_demoo`") as caught:
        pretrain(child)
    assert "mpp_demo" in (caught.value.hint or "")


def test_all_problems_are_told_at_once_with_lines_and_nearest_keys(write):
    path = write(
        "wrong",
        """family: mpp
verb: pretrain
trian: {steps: 1}
model: {embed_dim: 96, num_heads: 4, blocks: four}
train:
  stpes: 5
  global_batch_size: "32"
  micro_batch_size: 0
engine: {precision: bf16, compile: 1}
learning_rate: 3
optim: [1]
""",
    )
    found = problems(lambda: pretrain(path, "train.sed=1", "data.weights.a=-1"))
    expected = [
        ("--set train.sed=1", "unknown key `train.sed`", "`train.seed`"),
        (":3:", "unknown key `trian`", "`train`"),
        (":4:", "`model.blocks`", "'four'"),
        (":5:", "`train.steps` is missing", "optimizer steps"),
        (":6:", "unknown key `train.stpes`", "`train.steps`"),
        (":7:", "`train.global_batch_size`", "'32'"),
        (":8:", "`train.micro_batch_size`", "greater than 0, found 0"),
        (":9:", "`engine.precision`", "did you mean 'bfloat16'"),
        (":9:", "`engine.compile`", "boolean, found 1"),
        (":10:", "unknown key `learning_rate`", "`optim.learning_rate`"),
        (":11:", "`optim`", "should be a mapping"),
        ("--set data.weights.a=-1", "`data.weights.a`", "greater than 0, found -1"),
    ]
    assert len(found) == len(expected)
    for line, parts in zip(found, expected, strict=True):
        for part in parts:
            assert part in line


def test_a_problem_in_a_base_is_told_with_the_base_s_file_and_line(write):
    write("base2", BASE + "  sed: 1\n")
    child = write("child", "extends: base2.yaml\ntrain:\n  steps: 1\n")
    assert [line for line in problems(lambda: pretrain(child)) if "base2.yaml:11: unknown key `train.sed`" in line]


def test_what_holds_between_keys_is_checked_too(write):
    found = problems(lambda: pretrain(write("child", "extends: base.yaml\nmodel: {num_heads: 7}\n")))
    assert len(found) == 1
    assert "embed_dim 96 is not divisible by num_heads 7" in found[0]


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("optim.learning_rate=1e-4", lambda recipe: recipe.optim.learning_rate == 1e-4),
        ("train.steps=1e3", lambda recipe: recipe.train.steps == 1000),
        ("engine.compile=true", lambda recipe: recipe.engine.compile is True),
        ("data.stores=[a, b]", lambda recipe: recipe.data.stores == ("a", "b")),
        ("optim.clip_norm=", lambda recipe: recipe.optim.clip_norm is None),
        ("data.weights.swe=3", lambda recipe: recipe.data.weights == {"swe": 3, "ns": 1}),
        ("data.weights.compNS_M0.1_64=2", lambda recipe: recipe.data.weights["compNS_M0.1_64"] == 2),
        ("data.weights={new: 1}", lambda recipe: recipe.data.weights == {"new": 1}),
        ("data={history: 4}", lambda recipe: (recipe.data.history, recipe.data.weights) == (4, {})),
    ],
)
def test_set_takes_yaml_values_for_known_keys_and_new_names_in_free_mappings(write, override, read):
    assert read(pretrain(write("child", "extends: base.yaml\n"), override))


def test_names_with_dots_in_free_mappings_of_sections_are_found(write):
    path = write(
        "data",
        "family: mpp\nverb: prepare\nsimulate:\n  compNS_M0.1: {system: compressible_ns}\n",
    )
    recipe = load_recipe(
        path,
        family="mpp",
        verb="prepare",
        overrides=["simulate.compNS_M0.1.frames=3", "simulate.new_0.2.system=shallow_water"],
    ).model_dump()
    assert recipe["simulate"]["compNS_M0.1"]["frames"] == 3
    assert recipe["simulate"]["new_0.2"]["system"] == "shallow_water"


@pytest.mark.parametrize("override", ["train.steps", "=3", "train.steps=[", "train.steps.deep=1", "extends=mpp_b"])
def test_an_override_that_cannot_be_is_named(write, override):
    found = problems(lambda: pretrain(write("child", "extends: base.yaml\n"), override))
    assert len(found) == 1
    assert found[0].startswith(f"--set {override}:")


def test_a_recipe_for_another_verb_or_family_is_one_sentence(write):
    path = write("child", "extends: base.yaml\nverb: prepare\nfoo: 1\n")
    with pytest.raises(RecipeError) as caught:
        pretrain(path)
    assert caught.value.message == f"{path} is a recipe for `prepare mpp`, and this is `pretrain mpp`"
    other = write("other", "family: xval\nverb: pretrain\nfoo: 1\n")
    with pytest.raises(RecipeError, match=r"is a recipe for `pretrain xval`, and this is `pretrain mpp`"):
        pretrain(other)


def test_a_resolved_recipe_loads_back_equal_and_needs_nothing_else(write, tmp_path):
    recipe = pretrain(write("child", "extends: base.yaml\n"), "optim.betas=[0.9, 0.95]", "data.weights.on=1e-8")
    (tmp_path / "elsewhere").mkdir()
    again = tmp_path / "elsewhere" / "recipe.yaml"
    again.write_text(dump_recipe(recipe))
    assert pretrain(str(again)) == recipe


def test_every_shipped_recipe_is_right_described_and_survives_the_round_trip(tmp_path):
    recipes = shipped_recipes()
    assert {recipe.name for recipe in recipes} == set(shipped_names())
    assert {"mpp_ti", "mpp_s", "mpp_b", "mpp_l", "mpp_demo"} <= set(shipped_names())
    for shipped in recipes:
        assert shipped.description
        recipe = load_recipe(shipped.name, family=shipped.family, verb=shipped.verb)
        path = tmp_path / f"{shipped.name}.yaml"
        path.write_text(dump_recipe(recipe))
        assert load_any_recipe(str(path)) == recipe


def test_a_verb_without_a_recipe_file_has_defaults_that_can_be_set():
    recipe = default_recipe("mpp", "prepare", ["split.test=0.5"]).model_dump()
    assert recipe["split"]["test"] == 0.5
    assert problems(lambda: default_recipe("mpp", "prepare", ["split.tset=0.5"])) == [
        "--set split.tset=0.5: unknown key `split.tset`; did you mean `split.test`?"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("verb: pretrain\n", "`family` is missing"),
        (
            "family: mppp\nverb: pretrain\n",
            "`family` is 'mppp', expected one of .*; did you mean mpp",
        ),
        ("family: mpp\nverb: pretrian\n", "did you mean pretrain"),
        ("family: mpp\n", "`verb` is missing"),
        ("", "`family` is missing"),
    ],
)
def test_a_recipe_says_what_it_is_for(write, text, message):
    with pytest.raises(RecipeError, match=message):
        load_any_recipe(write("child", text))


HIDDEN = (
    "word: hunter2\ntrain: hunter3\n",
    "hunter2:\n\thunter3",
    "hunter2",
    "a: &hunter2 3",
    "hunter2: 1\nhunter2: 2",
)


@pytest.mark.parametrize("content", HIDDEN)
def test_of_a_file_elsewhere_nothing_is_shown(tmp_path, monkeypatch, content):
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "theirs" / "secrets.yaml").write_text(content)
    (tmp_path / "mine" / "a.yaml").write_text(
        "family: mpp\nverb: pretrain\nextends: ../theirs/secrets.yaml\ntrain: {step: 3}\n"
    )
    monkeypatch.chdir(tmp_path / "mine")
    with pytest.raises(RecipeError) as caught:
        pretrain("a.yaml")
    assert "hunter" not in str(caught.value)
    assert "word" not in str(caught.value)
    assert "secrets.yaml" in str(caught.value)


@pytest.mark.parametrize("base", ["~nobody/x.yaml", "x" * 300 + ".yaml", "a.yaml/", "./", "loop.yaml", "pipe.yaml"])
@pytest.mark.timeout(60)
def test_what_is_no_file_to_extend_is_said(write, tmp_path, base):
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="`extends: "):
        pretrain(write("child", f"family: mpp\nextends: {base}\n"))


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-" + "9" * 400, "0." + "1" * 5000 + "e400"])
def test_numbers_beyond_float64_are_said(write, number):
    with pytest.raises(RecipeError, match="beyond what a float64 holds"):
        pretrain(write("child", f"extends: base.yaml\ntrain: {{seed: {number}}}\n"))


@pytest.mark.parametrize("number", [str(2**63), "1e30"])
def test_integers_beyond_64_bits_are_no_counts(write, number):
    with pytest.raises(RecipeError, match=r"`train\.seed` should be a valid integer"):
        pretrain(write("child", f"extends: base.yaml\ntrain: {{seed: {number}}}\n"))


@pytest.mark.parametrize("content", ["[" * 10**5, "a: " * 1000, "a:\n" * 10, "{a: " * 200 + "1" + "}" * 200])
def test_deep_recipes_are_said(write, content):
    with pytest.raises(RecipeError):
        pretrain(write("child", content))


@pytest.mark.parametrize("key", ["global_batch_size", "micro_batch_size"])
@pytest.mark.parametrize(("family", "recipe"), [("mpp", "mpp_demo"), ("xval", "xval_demo")])
def test_batches_of_sizes_that_no_tensor_has_are_refused_by_their_key(family, recipe, key):
    with pytest.raises(RecipeError, match=rf"`train\.{key}` should be less than 2147483648"):
        load_recipe(recipe, family=family, verb="pretrain", overrides=[f"train.{key}={10**18}"])
