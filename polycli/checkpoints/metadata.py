"""Keeps the text of model.json in the metadata of its safetensors file, so that neither is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from polycli.checkpoints.identify import identify
from polycli.checkpoints.tensor_files import damage_said

#: The key of the metadata under which model.json's text stands.
DESCRIPTION_KEY = "polycli"
#: What earlier versions wrote, whose files say nothing of themselves; converters of other projects' files write it too.
_NOTHING_SAID = {"format": "pt"}
#: The format ends headers at 100 MB. The hashes of some five million rows that trained are this long.
_LARGEST_TEXT = 64 * 2**20


def described_by(text: str) -> dict[str, str]:
    """The metadata for weights whose model.json has this text.

    Where the hashes of the rows that trained are too many for a header, they stand in model.json alone.
    """
    if len(text) > _LARGEST_TEXT:
        document = json.loads(text)
        document.pop("trained_on", None)
        text = json.dumps(document)
    return {DESCRIPTION_KEY: text}


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty for files of other kinds, which have none.

    Raises:
        CheckpointError: the header is damaged.
    """
    if identify(file).kind != "safetensors":
        return {}
    with damage_said(file), safe_open(file, framework="numpy") as opened:
        return dict(opened.metadata() or {})


def says_nothing(metadata: Mapping[str, str]) -> bool:
    """Whether weights with this metadata may be an earlier polycli's, which need a model.json to be used right."""
    return {key: value for key, value in metadata.items() if key != "family"} == _NOTHING_SAID
