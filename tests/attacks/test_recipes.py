"""Recipes of any content."""

import typing

import pytest
import yaml
from mutations import STRANGE, damaged, forged

from polycli.recipes import recipe_schema, settings_schema, shipped_recipes
from polycli.recipes.schema import sections_in

LARGE = (0, -1, 10**6, 10**9, 10**12, 10**18, 2**63 - 1, 10**30, 1e-30, 1e30)
SHIPPED = [recipe for recipe in shipped_recipes() if recipe.verb in {"prepare", "pretrain", "finetune", "eval"}]


def text_of(document, rng):
    """YAML, now and then with what YAML has and recipes have not."""
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    faults = (
        lambda: text + "\na: &x [*x]\n",
        lambda: text + "\nb: !!python/object/apply:os.system ['touch mark']\n",
        lambda: "extends: ../../../../etc/passwd\n" + text,
        lambda: (
            f"extends: {rng.choice(['~nobody/x.yaml', 'recipe.yaml', '/etc/hosts', 'x' * 5000, '/dev/zero', '.'])}\n"
            + text
        ),
        lambda: text + "\nx: " + "[" * rng.choice((50, 2000, 50_000)),
        lambda: text.replace(": ", ":\t", 1),
    )
    return rng.choice(faults)() if rng.random() < 0.3 else text


def test_recipes_are_checked(attack):
    kind = attack("recipes, checked")
    for rng in kind.rounds(220):
        recipe = rng.choice(SHIPPED)
        content = recipe.path.read_bytes()
        if rng.random() < 0.5:
            content = damaged(content, rng)
        else:
            content = text_of(plain(forged(yaml.safe_load(content), rng)), rng).encode("utf-8", "surrogatepass")
        (kind.folder / "recipe.yaml").write_bytes(content)
        kind.polycli("recipes", "check", "recipe.yaml", how=repr(content[:600]))
    kind.assert_right()


def plain(document):
    """What YAML can write: what is nested too deep for that becomes a text."""
    if isinstance(document, dict):
        return {str(key): plain(value) for key, value in document.items()}
    if isinstance(document, list):
        return [plain(value) for value in document]
    return document if isinstance(document, str | int | float | type(None)) else "deep"


def numbers_in(recipe):
    """Key paths of all numbers of a shipped recipe with all its defaults."""
    from polycli.recipes import load_any_recipe

    found, waiting = [], [((), load_any_recipe(str(recipe.path)).model_dump(mode="json"))]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, key), item) for key, item in value.items()]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(".".join(path))
    return sorted(found)


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_numbers_of_any_size_are_planned_for(attack, arena, family):
    kind = attack(f"numbers, {family}")
    name = {"mpp": "mpp_demo", "xval": "xval_demo", "astroclip": "astroclip_demo_spectrum"}[family]
    kind.may_lack_memory = True
    recipe = next(recipe for recipe in SHIPPED if recipe.name == name)
    keys = numbers_in(recipe)
    for rng in kind.rounds(60):
        words = []
        for key in rng.sample(keys, rng.choice((1, 1, 2))):
            value = rng.choice(
                (0, -1, 1, 2, 3, 7, 10**6, 10**12, 10**18, 2**63 - 1, 2**63, 10**30, 1e-30, 1e30, "9" * 5000)
            )
            words += ["--set", f"{key}={value}"]
        line = [
            "pretrain",
            family,
            "--recipe",
            name,
            "--data",
            arena / f"{family}.zarr",
            "--output",
            "out",
            "--dry-run",
        ]
        kind.polycli(*line, *words, seconds=60)
    kind.assert_right()


def test_settings_are_read(attack, arena):
    kind = attack("settings")
    kind.may_lack_memory = True
    for rng in kind.rounds(80):
        recipe = rng.choice([recipe for recipe in SHIPPED if recipe.verb == "pretrain"])
        key = rng.choice(
            [*numbers_in(recipe), "train", "model", "data.stores", "", "a" * 5000, "__class__", "train.steps.x"]
        )
        value = rng.choice([*map(str, STRANGE), "[" * 3000, "&a [*a]", "!!python/name:os.system", "{a: b", "'"])
        line = ["pretrain", recipe.family, "--recipe", recipe.name, "--data", arena / f"{recipe.family}.zarr"]
        kind.polycli(*line, "--output", "out", "--dry-run", "--set", f"{key}={value}".replace("\0", ""), seconds=60)
    kind.assert_right()


#: Of each verb and family: a line that works, and the schema of its settings.
LINES = {
    "eval": "--checkpoint {run} --data {store} --output out --set report=false",
    "predict": "--checkpoint {run} --data {store} --split test --output out/x.{suffix}",
    "embed": "--checkpoint {run} --data {store} --output out/x.parquet",
}


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_numbers_of_other_verbs_are_bounded(attack, arena, family):
    kind = attack(f"numbers of verbs, {family}")
    kind.may_lack_memory = True
    suffix = {"mpp": "zarr", "xval": "csv", "astroclip": "parquet"}[family]
    for rng in kind.rounds(60):
        verb = rng.choice([verb for verb in LINES if (verb, family) != ("embed", "mpp")])
        words = LINES[verb].format(run=arena / f"{family}-run", store=arena / f"{family}.zarr", suffix=suffix).split()
        key, value = rng.choice(numbers_of(settings_schema(family, verb))), rng.choice(LARGE)
        if (verb, key, value) == ("predict", "steps", 10**6):
            value = 10**4  # A million steps are half an hour of work, and the progress line says so.
        kind.polycli(verb, family, *words, "--set", f"{key}={value}", seconds=60)
    kind.assert_right()


@pytest.mark.parametrize(
    "line", ["mpp simulate", "xval planets", "xval arithmetic", "xval temperature", "astroclip mock"]
)
def test_what_is_made_up_is_bounded(attack, line):
    family, source = line.split()
    kind = attack(f"made up, {line}")
    kind.may_lack_memory = True
    for rng in kind.rounds(20):
        keys = ["trajectories", "frames", "grid", "seed"]
        keys = keys if source == "simulate" else numbers_of(recipe_schema(family, "prepare"), source)
        key, value = rng.choice(keys), rng.choice(LARGE)
        setting = f"{key}={value}"
        if source == "simulate":
            system = {"system": "shallow_water", "trajectories": 3, "frames": 4, "grid": 8} | {
                key.split(".")[-1]: value
            }
            setting = "simulate.a={" + ", ".join(f"{name}: {item}" for name, item in system.items()) + "}"
        line = ("prepare", family, "--source", source, "--output", "out/x.zarr", "--dry-run", "--set", setting)
        kind.polycli(*line, seconds=60)
    kind.assert_right()


def numbers_of(schema, section=None):
    """Key paths of the numbers of a schema, or of one of its sections, at its top two levels."""
    found = []
    for name, field in schema.model_fields.items():
        inner = list(sections_in(field.annotation))
        if section in (None, name) and not inner and {int, float} & types_in(field.annotation):
            found.append(name)
        for part in inner if section in (None, name) else ():
            found += [
                f"{name}.{key}" for key, deep in part.model_fields.items() if {int, float} & types_in(deep.annotation)
            ]
    return sorted(found)


def types_in(annotation):
    """Plain types that an annotation allows."""
    inside = typing.get_args(annotation)
    return (
        {annotation} if not inside else set().union(*(types_in(part) for part in inside if not isinstance(part, str)))
    )
