"""`polycli keys`: searching keys by a word, in either order, on narrow screens and in pipes."""

import json

import pytest

from polycli import __main__ as entry
from polycli.recipes.keys import keys_of


@pytest.fixture
def keys(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words):
        code = entry.run(["keys", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_word_finds_the_key_with_its_type_default_and_meaning(keys):
    code, out, _ = keys("pretrain", "mpp", "learning", "rate")
    assert code == 0
    assert out.splitlines()[0] == "optim.learning_rate"
    assert "number > 0, default 0.001" in out
    assert "dadapt_adan" in out


def test_verb_and_family_may_stand_in_either_order(keys):
    assert keys("mpp", "pretrain", "seed") == keys("pretrain", "mpp", "seed")


def test_without_a_word_all_keys_are_listed_and_json_has_them_too(keys):
    _, out, _ = keys("eval", "mpp")
    known = keys_of("mpp", "eval")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [key.name for key in known]
    code, out, _ = keys("eval", "mpp", "--json")
    assert code == 0
    assert [key["path"] for key in json.loads(out)] == [key.path for key in known]


def test_lines_fit_forty_columns(keys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = keys("pretrain", "mpp", "history")
    assert max(map(len, out.splitlines())) <= 40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pretrain", "mpp", "lerning_rate"), "did you mean optim.learning_rate?"),
        (("pretrain", "mpp", "qqqq"), "polycli keys pretrain mpp lists all of them"),
        (("pretrain", "mppp"), "did you mean mpp?"),
        (("tune", "mpp"), "mpp does not have the verb `tune`"),
    ],
)
def test_a_wrong_word_ends_with_two_and_the_next_step(keys, words, said):
    code, out, err = keys(*words)
    assert (code, out) == (2, "")
    assert said in err
