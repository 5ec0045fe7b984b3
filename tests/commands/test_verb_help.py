"""`polycli VERB FAMILY --help`: the sources, recipes and keys of the family; a wrong family is said first of all."""

import pytest

from polycli import __main__ as entry
from polycli.families import find_family
from polycli.recipes import shipped_recipes
from polycli.recipes.keys import keys_of


@pytest.fixture
def polycli(capsys):
    def run(*words):
        code = entry.run([*words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_help_of_prepare_lists_the_sources_recipes_and_keys_of_the_family(polycli, family):
    code, out, _ = polycli("prepare", family, "--help")
    assert code == 0
    sources = out.split(f"Sources of {family}")[1]
    for name in find_family(family).sources:
        assert f"\n  {name} " in sources
    for key in keys_of(family, "prepare"):
        assert key.name in sources
        assert key.default is None or flat(f"[default: {key.default}]") in flat(sources)
    for recipe in shipped_recipes():
        assert ((recipe.name in sources) == (recipe.family == family)) or recipe.verb != "prepare"


def test_help_of_a_verb_without_recipes_lists_what_set_takes(polycli):
    _, out, _ = polycli("eval", "mpp", "--help")
    assert "Keys of `eval mpp` (--set KEY=VALUE):" in out
    assert "windows_per_trajectory" in out


@pytest.mark.parametrize("words", [("--help",), ("prepare", "mpp", "--help")])
def test_help_fits_a_narrow_terminal(polycli, monkeypatch, words):
    wide = polycli(*words)[1]
    monkeypatch.setenv("COLUMNS", "40")
    narrow = polycli(*words)[1]
    # A word alone cannot be broken.
    assert [line for line in narrow.splitlines() if len(line) > 40 and len(line[26:].split()) > 1] == []
    assert "".join(narrow.split()) == "".join(wide.split())


def test_help_without_a_family_says_how_to_see_its_keys(polycli):
    code, out, _ = polycli("pretrain", "--help")
    assert code == 0
    assert "polycli pretrain FAMILY --help" in flat(out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pretrain", "mppp"], "there is no family 'mppp'"),
        (["pretrain", "mppp", "--help"], "there is no family 'mppp'"),
        (["pretrain"], "`polycli pretrain` needs a family: mpp, xval or astroclip"),
        (["pretrain", "--recipe", "mpp_ti"], "`polycli pretrain` needs a family"),
        (["pretrain", "--recipe", "mpp_ti", "mppp"], "there is no family 'mppp'"),
        (["pretrain", "mpp", "--wrong"], "No such option: --wrong"),
        (["recipes", "ls", "mppp"], "there is no family 'mppp'"),
        (["recipes", "ls", "mpp", "pretrian"], "did you mean pretrain?"),
        (["recipes", "schema", "mppp", "eval"], "there is no family 'mppp'"),
    ],
)
def test_a_family_or_verb_that_does_not_exist_is_said_before_missing_options(polycli, words, said):
    code, out, err = polycli(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Missing" not in err
