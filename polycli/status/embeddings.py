"""How far an embed has come: its units beside the target, or the manifest of what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polycli.errors import StoreError
from polycli.status.progress import Progress
from polycli.store.embeddings.claims import claims_in
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.plan import Plan
from polycli.store.embeddings.units import UnitNote, UnitPlace

_NOUN = ("unit", "units")
#: Speed is that of the units that were finished last, so many of them.
_RECENT = 64


def embeddings_status(path: Path) -> Progress | None:
    """How far the embeddings at `path` have come; None where there are none and none are being made."""
    place = UnitPlace(path)
    plan = place.plan()
    if plan is not None:
        return _in_work(place, plan)
    manifest = read_manifest(path) if path.exists() else {}
    return _published(path, manifest) if manifest else None


def _in_work(place: UnitPlace, plan: Plan) -> Progress:
    notes = [note for unit in place.done() if (note := _note(place, unit)) is not None]
    live = {claim.unit for claim in claims_in(place.claims) if claim.is_live} - {note.unit for note in notes}
    counts = [place.rows_of(source, plan) for source in range(plan.kept, len(plan.sources))]
    units = [
        None if rows is None else -(-rows // source.unit_rows)
        for rows, source in zip(counts, plan.sources[plan.kept :], strict=True)
    ]
    missing = None if None in units else sum(unit or 0 for unit in units) - len(notes) - len(live)
    seen = sum(note.rows for note in notes)
    rate = _rate(notes)
    left = None
    if rate and live and None not in counts:
        left = (sum(rows or 0 for rows in counts) - seen) / rate
    error = place.first_error()
    return Progress(
        place.target,
        "embeddings",
        "running" if live else ("failed" if error is not None else "stopped"),
        _NOUN,
        done=len(notes),
        running=len(live),
        missing=missing,
        quarantined=sum(note.quarantined for note in notes),
        rows=seen - sum(note.quarantined for note in notes),
        rows_per_second=rate,
        seconds_left=left,
        error=None if error is None else f"part {error.part}: {error.message}",
    )


def _published(path: Path, manifest: dict[str, Any]) -> Progress:
    sources = manifest.get("sources") or []
    units = sum(-(-source["rows"] // source["unit_rows"]) for source in sources)
    return Progress(
        path,
        "embeddings",
        "complete",
        _NOUN,
        done=units,
        missing=0,
        quarantined=int(manifest.get("quarantined") or 0),
        rows=manifest.get("rows"),
    )


def _note(place: UnitPlace, unit: int) -> UnitNote | None:
    try:
        return place.note(unit)
    except StoreError:
        # It was published a moment ago, or is damaged, which the next start finds.
        return None


def _rate(notes: list[UnitNote]) -> float | None:
    """Rows a second of all processes together, over the units that were finished last."""
    recent = sorted(notes, key=lambda note: note.finished)[-_RECENT:]
    if not recent:
        return None
    # From the first of their beginnings: earlier pauses between two starts do not count.
    begin = min(note.finished - note.seconds for note in recent)
    return sum(note.rows for note in recent) / max(recent[-1].finished - begin, 1e-9)
