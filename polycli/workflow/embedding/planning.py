"""Makes the plan of an embed: of the data that were given, or of what new data add to embeddings that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polycli.console import note
from polycli.errors import UserError, problems_of
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.plan import Plan, SourcePlan
from polycli.workflow.embedding.rows import Batch, Opened, Rows
from polycli.workflow.untrained import ALLOW_KEY

#: Settings that change nothing in the rows: how they are cut, and what may be replaced or put aside.
_NOT_OF_THE_ROWS = {"family", "verb", *UnitSettings.model_fields}


def plan_for(request: EmbedRequest, settings: UnitSettings, opened: Opened[Batch]) -> tuple[Plan, list[Rows[Batch]]]:
    """The plan for these data, and those of them that are to be embedded: with `append`, the new ones.

    Raises:
        UserError: they cannot be added to the embeddings that are there.
    """
    header, data = opened.header, opened.rows
    said = settings.model_dump(mode="json", exclude=_NOT_OF_THE_ROWS)
    plan = Plan(
        family=header.family,
        model_hash=str(header.provenance.get("model_hash", "")),
        settings={**said, "split": request.split, "limit": request.limit},
        sources=tuple(rows.planned(settings.unit_rows) for rows in data),
        header=asdict(header),
    )
    if not request.append:
        return plan, list(data)
    before = _plan_of(request.output)
    if before.fingerprint == plan.fingerprint:
        return before, list(data)
    return _added(request.output, before, plan, header, data)


def refuse_other_plan(path: Path, manifest: dict[str, Any], plan: Plan) -> None:
    """Say by name why embeddings that are there are not those of the plan.

    Raises:
        UserError: always.
    """
    try:
        differing = _from_manifest(manifest).other(plan)
    except ValidationError:
        differing = None
    what = f", of {differing}" if differing else ""
    raise UserError(f"{path}: exists already{what}", hint="give another --output, or --set overwrite=true")


def _added(
    path: Path, before: Plan, plan: Plan, header: EmbeddingsHeader, data: Sequence[Rows[Batch]]
) -> tuple[Plan, list[Rows[Batch]]]:
    """The plan of the embeddings at `path` with new sources behind those that they have."""
    # What may be taken decides nothing of what is made; what was allowed for any of the rows is told of all.
    allowed = [each.settings[ALLOW_KEY] for each in (before, plan) if ALLOW_KEY in each.settings]
    if len(allowed) == len((before, plan)):
        plan = plan.model_copy(update={"settings": {**plan.settings, ALLOW_KEY: any(allowed)}})
        before = before.model_copy(update={"settings": {**before.settings, ALLOW_KEY: any(allowed)}})
    same = plan.model_copy(update={"sources": before.sources})
    differing = before.other(same)
    if differing is not None:
        raise UserError(
            f"{path}: nothing can be added to it: its {differing}",
            hint="give the same checkpoint and settings, or another --output without --append",
        )
    there = {source.identity: source.name for source in before.sources}
    new = [(source, rows) for source, rows in zip(plan.sources, data, strict=True) if source.identity not in there]
    for source in plan.sources:
        if source.identity in there:
            note(f"{source.name}: its rows are in {path} already")
    taken = {source.name for source in before.sources}
    clash = next((source.name for source, _ in new if source.name in taken), None)
    if clash is not None:
        raise UserError(
            f"{path}: holds rows of other data that are called {clash} too", hint="give the new store another name"
        )
    names = {source.name for source, _ in new}
    merged = replace(
        before.manifest_header,
        store_hash={
            **before.header["store_hash"],
            **{name: value for name, value in header.store_hash.items() if name in names},
        },
        data=[*before.header["data"], *(path for path in header.data if path not in before.header["data"])],
    )
    sources: tuple[SourcePlan, ...] = (*before.sources, *(source for source, _ in new))
    return plan.model_copy(update={"sources": sources, "kept": len(before.sources), "header": asdict(merged)}), [
        rows for _, rows in new
    ]


def _plan_of(path: Path) -> Plan:
    """The plan by which embeddings were made.

    Raises:
        UserError: there are none, or none that can be added to.
    """
    manifest = read_manifest(path)
    if not manifest:
        raise UserError(f"{path}: there are no embeddings to add to", hint="leave --append out")
    try:
        return _from_manifest(manifest)
    except ValidationError as error:
        raise UserError(
            f"{path}: does not say which rows it holds, so nothing can be added to it: {problems_of(error)}",
            hint="embed all data into another --output",
        ) from error


def _from_manifest(manifest: dict[str, Any]) -> Plan:
    """The plan that a manifest tells of; its header is the manifest's own."""
    fields = EmbeddingsHeader.__dataclass_fields__
    header = {name: manifest[name] for name in fields if name in manifest}
    return Plan.model_validate(
        {
            "family": manifest.get("family"),
            "model_hash": str((manifest.get("provenance") or {}).get("model_hash", "")),
            "settings": manifest.get("settings"),
            "sources": manifest.get("sources") or None,
            "header": header,
        }
    )
