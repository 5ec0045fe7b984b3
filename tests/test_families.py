"""A family is a table of references that all lead somewhere, and an installed package can bring one."""

import typing

import pytest
import torch

from polycli import __main__ as entry
from polycli import demo, families
from polycli.errors import RecipeError, UserError
from polycli.families import ENTRY_POINTS, SHIPPED, VERBS, Family, Inspector, all_families, find_family
from polycli.recipes import recipe_schema, recipe_schemas, settings_schema
from polycli.references import resolve
from polycli.workflow.study.recipe import StudyRecipe

TOY = """
    from polycli.families import Family, PublishedWeights

    FAMILY = Family(
        name="toy",
        about="a toy",
        package=__name__,
        recipes={"pretrain": "fourth.recipes:PretrainRecipe"},
        weights=(PublishedWeights(name="Toy", project="https://example.org", address=None, licence="MIT"),),
    )
"""
RECIPES = """
    from typing import Literal
    from polycli.sections import Section

    class PretrainRecipe(Section):
        '''Nothing but a size.'''

        family: Literal["toy"]
        verb: Literal["pretrain"]
        size: int = 1
"""


@pytest.fixture
def install(tmp_path, package):
    """Install the toy, or another text for its `__init__.py`, under the entry point `toy` or another."""

    def installed(init=TOY, *, name="toy", value="fourth:FAMILY"):
        modules = {
            "fourth/__init__.py": init,
            "fourth/recipes.py": RECIPES,
            "fourth/pretrain.py": "def run(request): ...",
        }
        package("fourth", modules, {ENTRY_POINTS: {name: value}})

    return installed


@pytest.mark.parametrize("name", SHIPPED)
def test_all_that_a_family_names_exists(name):
    family = find_family(name)
    assert family.name == name
    assert set(family.recipes) <= set(family.verbs)
    assert set(family.settings) <= set(family.verbs)
    assert set(recipe_schemas(name)) == {*family.recipes, "study"}
    for verb, schema in recipe_schemas(name).items():
        assert typing.get_args(schema.model_fields["verb"].annotation) == (verb,)
    for verb in family.settings:
        assert typing.get_args(settings_schema(name, verb).model_fields["family"].annotation) == (name,)
    for verb in set(family.verbs) - {"study"}:
        assert callable(family.door(verb).run)
    for source in family.sources.values():
        assert isinstance(resolve(source), type)
    assert isinstance(family.inspects(), Inspector)
    assert type(family.inspects()) is not Inspector


def test_every_verb_of_every_family_has_a_recipe_or_settings():
    for family in all_families():
        assert set(family.verbs) == {*family.recipes, *family.settings, "study"}


def test_the_public_names_of_a_family_are_there_and_no_others():
    from polycli import astroclip, mpp, xval
    from polycli.xval.data.store import open_records

    assert xval.open_records is open_records
    for family in (mpp, xval, astroclip):
        assert all(getattr(family, name) is not None for name in family.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'open_planets'"):
            _ = family.open_planets


def test_an_installed_package_brings_a_family(install, capsys):
    with pytest.raises(UserError, match="there is no family 'toy'"):
        find_family("toy")
    install()
    assert [family.name for family in all_families()] == [*SHIPPED, "toy"]
    assert find_family("toy").verbs == ("pretrain", "study")
    assert entry.run(["--help"]) == 0
    assert "toy (a toy)" in capsys.readouterr().out
    assert entry.run(["weights", "ls"]) == 0
    assert "Toy" in capsys.readouterr().out
    assert entry.run(["pretrain", "toyy", "--recipe", "x"]) == 2
    assert "did you mean toy?" in capsys.readouterr().err


def test_an_installed_family_has_recipes_that_are_checked(install, tmp_path, capsys):
    install()
    path = tmp_path / "toy.yaml"
    path.write_text("{family: toy, verb: pretrain, size: 3}")
    assert entry.run(["recipes", "check", str(path)]) == 0
    assert "a valid recipe for `pretrain toy`" in capsys.readouterr().out
    path.write_text("{family: toy, verb: pretrain, sise: 3}")
    assert entry.run(["recipes", "check", str(path)]) == 2
    assert "did you mean `size`?" in capsys.readouterr().err


def test_a_study_may_be_of_any_family_that_there_is(install):
    document = {"family": "toy", "verb": "study", "title": "t", "runs": {}, "tables": []}
    with pytest.raises(ValueError, match="there is no family 'toy'"):
        StudyRecipe.model_validate(document)
    install()
    assert StudyRecipe.model_validate(document).family == "toy"
    assert "toy" in StudyRecipe.model_json_schema()["properties"]["family"]["enum"]


def test_a_family_without_a_demo_runs_no_other_familys(install, tmp_path):
    install()
    with pytest.raises(UserError, match="toy has no demo"):
        demo.demo_lines("toy", tmp_path)


def test_a_demo_may_go_to_a_folder_with_spaces_in_its_name(tmp_path):
    folder = tmp_path / "my demo"
    lines = demo.demo_lines("mpp", folder)
    assert str(folder / "stores") in lines[0]
    assert all("{" not in word for line in lines for word in line)


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (
            "raise RuntimeError('no GPU')",
            "toy of the package fourth cannot be imported: RuntimeError: no GPU",
        ),
        ("FAMILY = 3", "is to name a Family called 'toy', and names 3"),
        (TOY.replace('"toy"', '"other"'), "is to name a Family called 'toy'"),
    ],
)
def test_a_package_that_fails_is_named_and_spoils_nothing_else(install, init, said, capsys):
    install(init)
    with pytest.raises(UserError, match=said):
        find_family("toy")
    assert entry.run(["--help"]) == 0
    answer = capsys.readouterr()
    assert "mpp" in answer.out
    assert said in answer.err
    assert "it is left out" in answer.err


def test_a_package_cannot_take_the_name_of_a_family_that_there_is(install, capsys):
    install(TOY.replace('"toy"', '"mpp"'), name="mpp")
    assert [family.name for family in all_families()] == list(SHIPPED)
    assert find_family("mpp").package == "polycli.mpp"
    assert "mpp of the package fourth is not used" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "Toy", "../toy", "to y", "-toy", "7"])
def test_a_family_has_a_name_that_a_shell_and_a_folder_can_have(name):
    with pytest.raises(ValueError, match="small letters"):
        Family(name=name, about="a toy", package="toy")


def test_a_family_names_a_verb_that_is_missing():
    with pytest.raises(UserError, match="mpp does not have the verb `embedd`"):
        families.require_verb("mpp", "embedd")
    with pytest.raises(RecipeError, match="mpp has no recipes for the verb 'train'"):
        recipe_schema("mpp", "train")
    assert set(VERBS) >= set(find_family("mpp").verbs)


def test_each_family_tells_its_own_published_tensors_and_no_others(shared):
    from polycli.checkpoints.tensors import read_packed
    from polycli.checkpoints.tensors import read_state_dict as read

    parity = shared / "parity"
    files = {
        "mpp": read(parity / "mpp_avit_rel.ckpt.tar"),
        "xval": read(parity / "xval_numformer.safetensors"),
        "astroclip": read_packed(parity / "specformer.ckpt", stubs=("astroclip.", "dinov2.", "torch.nn.")).tensors,
    }
    for name, tensors in files.items():
        told = {family.name for family in all_families() if family.inspects().tensors(tensors) is not None}
        assert told == {name}
    nothing = {"weight": torch.zeros(1), "image_encoder.backbone.x": torch.zeros(1)}
    assert [family.inspects().tensors(nothing) for family in all_families()] == [None] * 3
