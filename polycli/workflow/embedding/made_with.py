"""The settings that published embeddings were made with, so that further rows can be embedded as theirs were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polycli.errors import StoreError, UserError, problems_of
from polycli.recipes import settings_schema


def settings_made_with(path: Path, family: str, settings: Mapping[str, object]) -> Any:  # noqa: ANN401  # The family's own.
    """The settings of `embed`, of those that the manifest of the embeddings at `path` has.

    Raises:
        UserError: the family has no `embed`.
        StoreError: they are none of this version.
    """
    schema = settings_schema(family, "embed")
    if schema is None:
        raise UserError(f"{path}: the family {family} has no `embed`")
    try:
        return schema.model_validate({"family": family, "verb": "embed", **settings})
    except ValidationError as error:
        raise StoreError(
            f"{path}: its settings are none of this version: {problems_of(error)}", hint="embed the data anew"
        ) from error
