"""Describes the keys of a recipe or of `--set`: type, default and meaning, as the pydantic models have them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from polycli.recipes.key_types import kind_of, written
from polycli.recipes.schema import mapping_value, recipe_schema, sections_in, settings_schema
from polycli.sections import Section

#: The keys that say what a recipe is for; the command line says them too.
_PURPOSE = {"family", "verb"}
#: Stands for a name that the user chooses, in a free mapping such as the datasets of `simulate`.
_FREE = "NAME"


@dataclass(frozen=True)
class Key:
    """One key: its path as `--set` takes it, the values that it takes, its default, and what it means."""

    path: str
    kind: str
    #: As it would be written after `=`; None where there is none and the key must be given.
    default: str | None
    meaning: str
    #: Of a section that comes in several kinds: those that have the key, such as `kind fno`; empty where all have it.
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The path, and the kinds of the section to which alone it belongs."""
        return f"{self.path} ({', '.join(self.only)})" if self.only else self.path


def keys_of(family: str, verb: str) -> tuple[Key, ...]:
    """Every key that `--set` and recipes of `polycli VERB FAMILY` may have, in the order of the schema.

    Raises:
        RecipeError: the verb is none that takes keys in this family.
    """
    return schema_keys(settings_schema(family, verb) or recipe_schema(family, verb))


def schema_keys(schema: type[Section]) -> tuple[Key, ...]:
    """Every key of a schema but those that say what the recipe is for."""
    return tuple(key for key in _keys(schema, "", None) if key.path not in _PURPOSE)


def search_keys(keys: Sequence[Key], words: Sequence[str]) -> tuple[Key, ...]:
    """The keys in whose path, type or meaning every one of the words stands, whatever its capitals; best first."""
    wanted = [word.lower().replace("-", "_") for word in words]
    matches = [key for key in keys if all(word in _haystack(key) for word in wanted)]
    # A word in the path is what somebody half remembers; a word in the explanation may be there by chance.
    return tuple(sorted(matches, key=lambda key: sum(word not in key.path.lower() for word in wanted)))


def near_keys(keys: Sequence[Key], words: Sequence[str]) -> list[str]:
    """The paths that are nearest to words that none of them has."""
    names = {key.path.rpartition(".")[2]: key.path for key in keys} | {key.path: key.path for key in keys}
    found = [names[near] for word in words for near in difflib.get_close_matches(word.lower(), names, n=2)]
    return list(dict.fromkeys(found))


def _haystack(key: Key) -> str:
    return f"{key.name} {key.kind} {key.meaning} {key.meaning.replace(' ', '_')}".lower()


def _keys(section: type[BaseModel], prefix: str, present: BaseModel | None) -> Iterator[Key]:
    """The keys of a section; `present` has the values that stand in place of the section's own defaults."""
    for name, field in section.model_fields.items():
        default = _default(field) if present is None else getattr(present, name, PydanticUndefined)
        yield from _key(f"{prefix}{name}", field, default)


def _key(path: str, field: FieldInfo, default: object) -> Iterator[Key]:
    inner = sections_in(field.annotation)
    value = mapping_value(field.annotation)
    below = default if isinstance(default, BaseModel) else None
    if not inner and (value is None or not (inner := sections_in(value))):
        yield Key(path, kind_of(field.annotation, field.metadata), written(default), field.description or "")
        return
    if value is not None:
        path = f"{path}.{_FREE}"
    elif _is_list(field.annotation):
        path = f"{path}[]"
    if default is None:
        yield Key(path, "a section, or null", "null", field.description or "")
    yield from _of_kinds(inner, f"{path}.", below)


def _of_kinds(sections: Sequence[type[BaseModel]], prefix: str, present: BaseModel | None) -> Iterator[Key]:
    """The keys of a section that comes in several kinds: what all have alike stands once."""
    if len(sections) == 1:
        yield from _keys(sections[0], prefix, present if isinstance(present, sections[0]) else None)
        return
    owners: dict[Key, list[str]] = {}
    for section in sections:
        mine = present if type(present) is section else None
        for key in _keys(section, prefix, mine):
            # The key that tells the kinds apart is one key whose values are all of them.
            if key.path != f"{prefix}kind":
                owners.setdefault(key, []).append(_kind_name(section))
    names = [_kind_name(section) for section in sections]
    if all("kind" in section.model_fields for section in sections):
        default = _kind_name(type(present)) if present is not None else _first_default(sections)
        meanings = (section.model_fields["kind"].description for section in sections)
        yield Key(f"{prefix}kind", " | ".join(names), default, next(filter(None, meanings), "which of them it is"))
    for key, having in owners.items():
        yield key if len(having) == len(sections) else replace(key, only=("kind " + " or ".join(having), *key.only))


def _first_default(sections: Sequence[type[BaseModel]]) -> str | None:
    fields = [section.model_fields["kind"] for section in sections]
    return next((written(_default(field)) for field in fields if not field.is_required()), None)


def _kind_name(section: type[BaseModel]) -> str:
    field = section.model_fields.get("kind")
    values = () if field is None else get_args(field.annotation)
    return " or ".join(map(str, values)) or section.__name__.removesuffix("Section").lower()


def _is_list(annotation: Any) -> bool:  # noqa: ANN401  # Annotations are anything.
    origin = get_origin(annotation)
    if origin in (Annotated, Union, UnionType):
        return any(_is_list(argument) for argument in get_args(annotation))
    return origin in (tuple, list)


def _default(field: FieldInfo) -> object:
    return PydanticUndefined if field.is_required() else field.get_default(call_default_factory=True)
