"""Finds recipes: at a path that the user gives, or by the name of a recipe that polycli ships."""

from __future__ import annotations

import difflib
from pathlib import Path

from polycli import console
from polycli.errors import RecipeError
from polycli.files.plain import kind_of
from polycli.paths import plain_path

SUFFIXES = (".yaml", ".yml")


def recipes_folder() -> Path:
    """The shipped recipes: inside the package when installed, at the top of the repository in an editable install."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def shipped_names() -> tuple[str, ...]:
    """The names that `--recipe NAME` understands."""
    return tuple(sorted(path.stem for path in recipes_folder().glob("*.yaml")))


def find_recipe(reference: str) -> Path:
    """The file that `reference` means: a path, or the name of a shipped recipe.

    `recipes/NAME.yaml` works from any folder: where there is no such file, the shipped recipe of that name is taken,
    and a note says so.

    Raises:
        RecipeError: there is no such file and no such name.
        UserError: it is no path at all.
    """
    path = plain_path(reference)
    if path.is_file():
        return path
    names = shipped_names()
    bare = path.suffix not in SUFFIXES and path.name == reference
    if bare and reference in names:
        return recipes_folder() / f"{reference}.yaml"
    if path.suffix in SUFFIXES and path.parent == Path("recipes") and path.stem in names:
        shipped = recipes_folder() / f"{path.stem}.yaml"
        console.note(f"{reference} is not here; the recipe {path.stem} that polycli ships is used")
        return shipped
    near = difflib.get_close_matches(path.stem, names, n=3)
    known = f"did you mean {' or '.join(near)}?" if near else "polycli recipes ls lists the recipes that there are"
    what = "no recipe has this name, and no file" if bare else "no such file"
    if path.exists():
        what = f"{kind_of(path.stat().st_mode)}, a recipe is a file"
    raise RecipeError(f"{reference}: {what}", hint=known)
