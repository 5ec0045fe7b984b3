"""`inspect --verify` of embeddings with their checkpoint and data: some rows are embedded again and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polycli.errors import StoreError, UserError
from polycli.families import verb_module
from polycli.requests import EmbedRequest
from polycli.store.embeddings.kind import read_manifest
from polycli.workflow.embedding.made_with import settings_made_with
from polycli.workflow.embedding.sampling import compare_sample


def verify_vectors(path: Path, checkpoint: Path, data: Sequence[Path], *, rows: int) -> str:
    """Embed at least so many rows again, drawn at random, with the settings that the embeddings were made with.

    Returns:
        What to say of it.

    Raises:
        UserError: these are no embeddings, or of another model or of other data, or a row does not agree.
    """
    manifest = read_manifest(path)
    if not manifest:
        raise UserError(f"{path}: only embeddings can be embedded again", hint="leave --checkpoint and --data out")
    settings = dict(manifest.get("settings") or {})
    if not manifest.get("sources"):
        raise StoreError(f"{path}: does not say with which settings it was made", hint="embed the data anew")
    request = EmbedRequest(
        checkpoint=checkpoint,
        data=tuple(data),
        output=path,
        split=settings.pop("split", None),
        limit=settings.pop("limit", None),
    )
    family = str(manifest.get("family"))
    made_with = settings_made_with(path, family, settings)
    opened = verb_module(family, "embed").open_rows(request, made_with)
    return str(compare_sample(path, manifest, opened, rows=rows))
