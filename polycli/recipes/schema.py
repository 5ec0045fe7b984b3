"""Lists the keys that a recipe may have, from the pydantic models: for overrides, nearest names and editors."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from polycli.errors import RecipeError
from polycli.families import SHARED_RECIPES, find_family
from polycli.recipes.documents import KeyPath, dotted
from polycli.references import resolve
from polycli.sections import Section

#: Keys that every recipe file may have besides its schema's.
EXTENDS = "extends"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schemas(family: str) -> dict[str, type[Section]]:
    """Maps each verb to its recipe schema for `family`; those that all families share come last."""
    references = {**find_family(family).recipes, **SHARED_RECIPES}
    return {verb: resolve(reference) for verb, reference in references.items()}


def recipe_schema(family: str, verb: str) -> type[Section]:
    """The schema of a recipe for `polycli VERB FAMILY`.

    Raises:
        RecipeError: the family has no recipes for this verb.
    """
    references = {**find_family(family).recipes, **SHARED_RECIPES}
    if verb not in references:
        near = difflib.get_close_matches(verb, references, n=1)
        raise RecipeError(
            f"{family} has no recipes for the verb {verb!r}: {family} has recipes for {', '.join(references)}",
            hint=f"did you mean {near[0]}?" if near else None,
        )
    schema: type[Section] = resolve(references[verb])
    return schema


def settings_schema(family: str, verb: str) -> type[Section] | None:
    """Returns the schema of `--set` for a verb that takes no recipe; None where it takes no settings."""
    reference = find_family(family).settings.get(verb)
    return None if reference is None else resolve(reference)


def sections_in(annotation: Any) -> tuple[type[BaseModel], ...]:  # noqa: ANN401  # Annotations are anything.
    """The sections that a field of this type may hold: itself, or the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    if get_origin(annotation) in (dict, Mapping):
        return ()
    return tuple(section for argument in get_args(annotation) for section in sections_in(argument))


def mapping_value(annotation: Any) -> Any | None:  # noqa: ANN401
    """The type of the values of a free mapping, such as weights by dataset name; None where the field is none."""
    if get_origin(annotation) in (dict, Mapping):
        return get_args(annotation)[1]
    found = [mapping_value(argument) for argument in get_args(annotation) if get_origin(annotation) is not tuple]
    return next((value for value in found if value is not None), None)


def known_keys(section: type[BaseModel], prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a schema, sections before what they contain; a free mapping stands for its own keys."""
    for name, field in section.model_fields.items():
        path = (*prefix, name)
        yield path
        for inner in sections_in(field.annotation):
            yield from known_keys(inner, path)


def key_path(section: type[BaseModel], text: str, present: Mapping[str, Any]) -> KeyPath | None:
    """The path that `a.b.c` means in a schema, or None; names in free mappings may themselves hold dots.

    `present` is the recipe so far: a name that stands there is preferred, such as `compNS_M0.1` in `simulate`.
    """
    name, _, rest = text.partition(".")
    field = section.model_fields.get(name)
    if field is None:
        return None
    if not rest:
        return (name,)
    inside = present.get(name)
    below = inside if isinstance(inside, Mapping) else {}
    for inner in sections_in(field.annotation):
        if (found := key_path(inner, rest, below)) is not None:
            return (name, *found)
    value = mapping_value(field.annotation)
    found = None if value is None else _free_path(value, rest, below)
    return None if found is None else (name, *found)


def _free_path(value: Any, text: str, present: Mapping[str, Any]) -> KeyPath | None:  # noqa: ANN401
    """The path that `text` means in a free mapping with values of type `value`."""
    inner = sections_in(value)
    if not inner:
        return (text,)
    parts = text.split(".")
    names = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for name in sorted(names, key=lambda name: name not in present):
        rest = text[len(name) + 1 :]
        below = present.get(name)
        for section in inner:
            found = key_path(section, rest, below if isinstance(below, Mapping) else {}) if rest else ()
            if found is not None and (rest or name == text):
                return (name, *found)
    return None


def nearest_keys(schema: type[BaseModel], path: KeyPath) -> list[str]:
    """Keys that somebody who wrote `path` may have meant: alike at the same place, else of the same name elsewhere."""
    wanted = [part for part in path if isinstance(part, str)]
    if not wanted:
        return []
    keys = [[str(part) for part in key] for key in known_keys(schema)]
    beside = {key[-1]: dotted(tuple(key)) for key in keys if key[:-1] == wanted[:-1]}
    near = [beside[name] for name in difflib.get_close_matches(wanted[-1], beside, n=2, cutoff=0.7)]
    if near:
        return near
    same = [dotted(tuple(key)) for key in keys if key[-1] == wanted[-1]]
    return same[:3] or difflib.get_close_matches(".".join(wanted), [".".join(key) for key in keys], n=2, cutoff=0.6)


def json_schema(family: str, verb: str) -> dict[str, object]:
    """JSON Schema of a recipe file, for editors: all keys needed, except where `extends` brings the rest.

    Of a verb without recipes, it is that of the settings that `--set` takes.

    Raises:
        RecipeError: the family has neither recipes nor settings for this verb.
    """
    settings = settings_schema(family, verb)
    if settings is not None:
        title = f"settings of polycli {verb} {family}"
        return {"$schema": _DIALECT, **settings.model_json_schema(), "title": title}
    whole = recipe_schema(family, verb).model_json_schema()
    whole["properties"][EXTENDS] = {"type": "string", "description": "inherit from this recipe: a name or a path"}
    definitions = whole.pop("$defs", {})
    partial = _without_required({**copy.deepcopy(whole), "$defs": copy.deepcopy(definitions)})
    inherited = {f"{name}Inherited": definition for name, definition in partial.pop("$defs").items()}
    return {
        "$schema": _DIALECT,
        "title": f"polycli {verb} {family}",
        "type": "object",
        "if": {"required": [EXTENDS]},
        "then": partial,
        "else": whole,
        "$defs": {**definitions, **inherited},
    }


def _without_required(node: Any) -> Any:  # noqa: ANN401  # A JSON document.
    """The same schema with nothing obligatory, its references moved to the definitions of that kind."""
    if isinstance(node, list):
        return [_without_required(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Without what is obligatory, sections of several kinds may fit at once.
    return {
        "anyOf" if key == "oneOf" else key: f"{value}Inherited" if key == "$ref" else _without_required(value)
        for key, value in node.items()
        if not (key == "required" and isinstance(value, list))
    }
