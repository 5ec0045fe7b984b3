"""Loads a recipe: joins a file, what it extends and `--set`, and checks it, with every problem told at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import BaseModel, ValidationError

from polycli.errors import RecipeError, UserError
from polycli.families import family_names
from polycli.names import shortened_name
from polycli.recipes.documents import Document, KeyPath, Origin, dotted, read_document, read_value, write_document
from polycli.recipes.files import SUFFIXES, find_recipe, recipes_folder, shipped_names
from polycli.recipes.schema import (
    EXTENDS,
    key_path,
    known_keys,
    nearest_keys,
    recipe_schema,
    recipe_schemas,
    sections_in,
)
from polycli.sections import Section

AnyRecipe = TypeVar("AnyRecipe", bound=Section)
#: A section of several kinds names the members of its union so; pydantic puts the name into the path of a problem.
_UNION_TAG = "kind:"


@dataclass(frozen=True)
class ShippedRecipe:
    """One recipe that polycli brings along."""

    name: str
    path: Path
    family: str
    verb: str
    description: str


@overload
def load_recipe(reference: str, *, family: str, verb: str, overrides: Sequence[str] = ()) -> Section: ...
@overload
def load_recipe(
    reference: str, *, family: str, verb: str, overrides: Sequence[str] = (), schema: type[AnyRecipe]
) -> AnyRecipe: ...
def load_recipe(
    reference: str, *, family: str, verb: str, overrides: Sequence[str] = (), schema: type[Section] | None = None
) -> Section:
    """The recipe that `reference` names (a path or a shipped name), for `polycli VERB FAMILY`, with `--set` applied.

    `schema`, if given, is the class that the caller knows the recipe to have; otherwise the family's table tells.

    Raises:
        RecipeError: it is not found, is for another family or verb, or has problems: all of them in one message.
    """
    document = read_with_bases(find_recipe(reference))
    _check_purpose(document, reference, family, verb)
    return _validate(document, schema or recipe_schema(family, verb), overrides)


@overload
def default_recipe(family: str, verb: str, overrides: Sequence[str] = ()) -> Section: ...
@overload
def default_recipe(family: str, verb: str, overrides: Sequence[str] = (), *, schema: type[AnyRecipe]) -> AnyRecipe: ...
def default_recipe(
    family: str, verb: str, overrides: Sequence[str] = (), *, schema: type[Section] | None = None
) -> Section:
    """The recipe with nothing but defaults, for verbs that work without a file, with `--set` applied."""
    document = Document(source=f"{verb} {family}", data={"family": family, "verb": verb})
    return _validate(document, schema or recipe_schema(family, verb), overrides)


def load_any_recipe(reference: str, overrides: Sequence[str] = ()) -> Section:
    """A recipe for whichever family and verb it names itself.

    Raises:
        RecipeError: as `load_recipe`; or it names no family and verb that polycli has.
    """
    document = read_with_bases(find_recipe(reference))
    family, verb = (document.data.get(key) for key in ("family", "verb"))
    if not isinstance(family, str) or family not in family_names():
        raise RecipeError(_unknown(document, "family", family, family_names()))
    schemas = recipe_schemas(family)
    if not isinstance(verb, str) or verb not in schemas:
        raise RecipeError(_unknown(document, "verb", verb, list(schemas)))
    return _validate(document, schemas[verb], overrides)


def dump_recipe(recipe: Section) -> str:
    """YAML with every key spelt out, which loads back equal: enough to repeat the run."""
    return write_document(recipe.model_dump(mode="python"))


def shipped_recipes() -> tuple[ShippedRecipe, ...]:
    """Lists the recipes that polycli ships; the description is the file's first comment."""
    found = []
    for name in shipped_names():
        path = recipes_folder() / f"{name}.yaml"
        data = read_with_bases(path).data
        first = next(iter(path.read_text(encoding="utf-8").splitlines()), "")
        description = first.lstrip("# ") if first.startswith("#") else ""
        found.append(ShippedRecipe(name, path, str(data.get("family")), str(data.get("verb")), description))
    return tuple(found)


def read_with_bases(path: Path, chain: tuple[Path, ...] = ()) -> Document:
    """A recipe file merged over what it extends: mappings key by key, anything else replaced.

    Raises:
        RecipeError: a base is missing, or a recipe extends itself.
    """
    resolved = path.resolve()
    document = read_document(path, source=_shown(path))
    if resolved in chain:
        round_trip = " -> ".join(item.stem for item in (*chain[chain.index(resolved) :], resolved))
        raise RecipeError(f"{_shown(path)}: recipes extend each other in a circle: {round_trip}")
    base = document.data.pop(EXTENDS, None)
    if base is None:
        return document
    where = document.origins[EXTENDS,]
    if not isinstance(base, str):
        raise RecipeError(f"{where}: `extends` takes the name or path of one recipe, found {base!r}")
    # A bare name is a shipped recipe; a path is seen from the file that names it.
    is_path = "/" in base or base.endswith(SUFFIXES)
    try:
        below = find_recipe(base if base.startswith("~") or not is_path else str(path.parent / base))
    except UserError as error:
        raise RecipeError(f"{where}: `extends: {base}`: {error.message}", hint=error.hint) from error
    inherited = _read_base(below, (*chain, resolved), f"{where}: `extends: {base}`")
    return Document(
        source=document.source,
        data=_merge(inherited.data, document.data),
        origins={**inherited.origins, **document.origins},
    )


def _read_base(path: Path, chain: tuple[Path, ...], where: str) -> Document:
    """Reads the recipe that another one extends.
    Nothing is shown of a file that may belong to somebody else and is not a recipe.

    A recipe from anywhere can name any file of this machine, and its messages are shown, logged and sent around.
    """
    if is_near(path, chain[0]):
        return read_with_bases(path, chain)
    try:
        document = read_with_bases(path, chain)
    except RecipeError as error:
        hint = f"polycli recipes check {_shown(path)} says what is wrong"
        raise RecipeError(f"{where}: this is not a recipe", hint=hint) from error
    origins = {place: replace(origin, hidden=True) for place, origin in document.origins.items()}
    return replace(document, origins=origins)


def is_near(path: Path, recipe: Path) -> bool:
    """Whether a file belongs to a recipe: it lies in its folder or below, in the working folder, or is shipped."""
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in (recipe.parent, Path(), recipes_folder()))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, object]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _check_purpose(document: Document, reference: str, family: str, verb: str) -> None:
    """One sentence, instead of a page of unknown keys, where the recipe is for something else."""
    found = (document.data.get("family", family), document.data.get("verb", verb))
    if found != (family, verb):
        raise RecipeError(
            f"{reference} is a recipe for `{found[1]} {found[0]}`, and this is `{verb} {family}`",
            hint=f"polycli recipes ls lists the recipes for {family}",
        )


def _validate(document: Document, schema: type[Section], overrides: Sequence[str]) -> Section:
    problems = [problem for override in overrides if (problem := _apply(document, schema, override)) is not None]
    try:
        # JSON mode is strict about types and yet takes a list for a tuple and an integer for a real number.
        recipe = schema.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        problems += _problems(document, schema, error)
    else:
        if not problems:
            return recipe
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    raise RecipeError("\n  ".join([f"{document.source}: {count}", *problems]))


def _apply(document: Document, schema: type[Section], override: str) -> str | None:
    """Put one `KEY=VALUE` into the document; returns the problem, if there is one."""
    shown = f"--set {shortened_name(override)}"
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        return f"{shown}: write it as --set KEY=VALUE"
    path = key_path(schema, key, document.data)
    if path is None:
        return f"{shown}: unknown key `{shortened_name(key)}`{_suggestion(schema, tuple(key.split('.')))}"
    try:
        value = read_value(text, source=shown)
    except RecipeError:
        return f"{shown}: what stands after `=` is not a YAML value"
    target = document.data
    for part in path[:-1]:
        if not isinstance(target.get(str(part)), dict):
            target[str(part)] = {}
        target = target[str(part)]
    target[str(path[-1])] = value
    document.origins = {place: origin for place, origin in document.origins.items() if place[: len(path)] != path}
    document.origins[path] = Origin(shown)
    return None


def _problems(document: Document, schema: type[Section], error: ValidationError) -> list[str]:
    """One line per problem, in the order of the file, each with its place."""
    lines: list[tuple[Origin, str]] = []
    for detail in error.errors(include_url=False):
        path = tuple(part for part in detail["loc"] if part != "[key]" and not str(part).startswith(_UNION_TAG))
        kind = detail["type"]
        if kind == "missing":
            lines.append((document.origin(path[:-1]), f"`{dotted(path)}` is missing{_meaning(schema, path)}"))
            continue
        path = _existing(document.data, path)
        origin = document.origin(path)
        if origin.hidden:
            lines.append((origin, "what stands here does not fit; the file lies elsewhere, so it is not shown"))
            continue
        if kind == "extra_forbidden":
            kind_here = next((str(part) for part in detail["loc"] if str(part).startswith(_UNION_TAG)), "")
            if kind_here and path in known_keys(schema):
                lines.append((origin, f"`{dotted(path)}` is of another kind than `{kind_here.replace(':', ': ')}`"))
            else:
                lines.append((origin, f"unknown key `{dotted(path)}`{_suggestion(schema, path)}"))
            continue
        message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
        message = message.replace("a valid dictionary or object", "a mapping").replace("an object", "a mapping")
        if kind != "value_error":
            message += f", found {_shortened(detail['input'])}"
        if kind == "literal_error" and isinstance(detail["input"], str):
            choices = [choice.strip("'") for choice in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            # `periodic|wall`, as proposed lines have it, is a choice that is yet to be made: none of it is nearer.
            near = [] if "|" in detail["input"] else difflib.get_close_matches(detail["input"], choices, 1, cutoff=0.4)
            message += f"; did you mean {near[0]!r}?" if near else ""
        lines.append((origin, f"`{dotted(path)}` {message}" if path else message))
    lines.sort(key=lambda line: (line[0].source != document.source, line[0].source, line[0].line or 0))
    return [f"{origin}: {text}" for origin, text in lines]


def _existing(data: Any, path: KeyPath) -> KeyPath:  # noqa: ANN401
    """The longest start of `path` that is in the data: pydantic adds names of union members that no recipe has."""
    for length, part in enumerate(path):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return path[:length]
    return path


def _suggestion(schema: type[Section], path: KeyPath) -> str:
    """The keys that are near the unknown one; where none is, those that stand at its place."""
    near = nearest_keys(schema, path)
    if near:
        return f"; did you mean {' or '.join(f'`{key}`' for key in near)}?"
    there = [
        name
        for section in _sections_at(schema, path)
        for name in section.model_fields
        if name not in {"family", "verb"}
    ]
    return f"; there are {', '.join(there)}" if there else ""


def _sections_at(schema: type[Section], path: KeyPath) -> tuple[type[BaseModel], ...]:
    """The sections in which the last key of `path` stands, or would."""
    sections: tuple[type[BaseModel], ...] = (schema,)
    for part in path[:-1]:
        fields = [section.model_fields.get(str(part)) for section in sections]
        sections = tuple(inner for field in fields if field is not None for inner in sections_in(field.annotation))
    return sections


def _meaning(schema: type[Section], path: KeyPath) -> str:
    """Describes a missing key, where its schema does so at the top levels."""
    sections = _sections_at(schema, path)
    meanings = [
        section.model_fields[str(path[-1])].description for section in sections if path[-1] in section.model_fields
    ]
    return f" ({meanings[0]})" if meanings and meanings[0] else ""


def _unknown(document: Document, key: str, value: object, known: Sequence[str]) -> str:
    where = document.origin((key,))
    expected = ", ".join(known) or "nothing yet"
    if value is None:
        return f"{where}: `{key}` is missing; it is one of {expected}"
    if where.hidden:
        return f"{where}: `{key}` is none that polycli has, expected one of {expected}"
    near = difflib.get_close_matches(str(value), known, n=1)
    return f"{where}: `{key}` is {value!r}, expected one of {expected}" + (f"; did you mean {near[0]}?" if near else "")


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shown(path: Path) -> str:
    """The path as messages show it: from here where it is below, else in full."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
