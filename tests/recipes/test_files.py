"""A recipe is a path or the name of one that polycli ships."""

import pytest

from polycli.errors import RecipeError
from polycli.recipes.files import find_recipe, recipes_folder


def test_a_bare_name_is_a_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("mpp_b") == recipes_folder() / "mpp_b.yaml"


def test_a_file_here_goes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mpp_b.yaml").write_text("")
    assert find_recipe("mpp_b.yaml").samefile(tmp_path / "mpp_b.yaml")
    assert find_recipe("mpp_b") == recipes_folder() / "mpp_b.yaml"


def test_a_folder_of_that_name_is_no_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mpp_b").mkdir()
    assert find_recipe("mpp_b") == recipes_folder() / "mpp_b.yaml"


def test_the_repository_s_path_works_from_anywhere_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("recipes/mpp_b.yaml") == recipes_folder() / "mpp_b.yaml"
    assert "recipes/mpp_b.yaml is not here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "hint"),
    [("mpp_demoo", "mpp_demo"), ("recipes/mpp_x.yaml", "did you mean"), ("qqqq", "polycli recipes ls"), (".", "")],
)
def test_what_is_not_there_comes_with_the_nearest_names(tmp_path, monkeypatch, reference, hint):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        find_recipe(reference)
    assert reference in caught.value.message
    assert hint in (caught.value.hint or "")
