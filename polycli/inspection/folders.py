"""Folders: a store, a run, a checkpoint, a folder of stores, somebody else's zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from polycli.errors import StoreError, UserError
from polycli.families import Inspector, all_families, family_names, find_family
from polycli.inspection.contents.hats import describe_hats, hats_properties
from polycli.inspection.contents.listing import listing
from polycli.inspection.embeddings import are_embeddings, describe_embeddings
from polycli.inspection.finding import FORECAST, SHOWN, Finding, byte_size, describe, read_json, shortened
from polycli.inspection.runs import describe_checkpoint, describe_run
from polycli.inspection.verifying import verify_content
from polycli.store.embeddings.manifest import MANIFEST_NAME, METADATA_KEY

if TYPE_CHECKING:
    from polycli.store.manifest import Manifest

_MANIFEST = "MANIFEST.json"


def inspect_folder(path: Path, *, verify: bool) -> Finding:
    """Recognises and describes a folder by the files that lie in it.

    Raises:
        PolycliError: it is damaged.
    """
    manifest = read_json(path / _MANIFEST)
    if manifest.get("format") == "polycli-checkpoint":
        return describe_checkpoint(path, verify=verify)
    if are_embeddings(embeddings := read_json(path / MANIFEST_NAME)):
        return describe_embeddings(path, embeddings)
    if (path / _MANIFEST).exists():
        return _store(path, verify=verify)
    if (path / "status.json").is_file() or any((path / "checkpoints").glob("step-*")):
        return describe_run(path, verify=verify)
    return _foreign(path) or _plain_folder(path, verify=verify)


def _foreign(path: Path) -> Finding | None:
    """Describes what other programs wrote as a folder: zarr and HATS; None for all else."""
    if any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray")):
        return _foreign_zarr(path)
    properties = hats_properties(path)
    return describe_hats(path, properties) if properties else None


def _store(path: Path, *, verify: bool) -> Finding:
    from polycli.store.manifest import read_manifest

    manifest = read_manifest(path)
    if verify:
        from polycli.store.verify import check_files

        check_files(path, manifest, hashes=True)
    facts = {
        "rows": ", ".join([str(manifest.rows), *(f"{count} {split}" for split, count in manifest.splits.items())]),
        **_inspector(manifest.family).store(manifest.about),
        "arrays": [f"{name} {' x '.join(map(str, info.shape))} {info.dtype}" for name, info in manifest.arrays.items()],
        "from": [source.name for source in manifest.sources],
        "left out": _reasons(manifest.rejected, manifest.flagged, manifest.about.get("doubts", {})),
        "size": f"{byte_size(sum(file.size for file in manifest.files.values()))} in {len(manifest.files)} files",
        "hash": manifest.store_hash,
        "verified": "every file has the hash that the manifest says" if verify else None,
    }
    kind = f"a store for {manifest.family}, {manifest.name}"
    return listing(describe(path, kind, facts, manifest.model_dump(mode="json")), "columns", _columns(path, manifest))


def _columns(path: Path, manifest: Manifest) -> Mapping[str, str]:
    try:
        return _inspector(manifest.family).columns(path)
    except StoreError as error:
        return {"unknown": f"the store cannot be read: {error.message.removeprefix(f'{path}: ')}"}


def _inspector(family: str) -> Inspector:
    """The family's own, or one that says nothing where the family is of a package that is not installed."""
    return find_family(family).inspects() if family in family_names() else Inspector()


def _reasons(rejected: tuple[Any, ...], flagged: tuple[Any, ...], counts: Mapping[str, int]) -> str | None:
    """How many rows were left out or flagged, and why; `counts` are of all flagged where not all are listed."""
    if not rejected and not flagged:
        return None
    reasons = sorted({entry.reason for entry in (*rejected, *flagged)})
    return (
        f"{len(rejected)} rejected, {max(len(flagged), sum(counts.values()))} flagged: {shortened(reasons[:2], '; ')}"
    )


def _foreign_zarr(path: Path) -> Finding:
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        arrays = {".": node}
    else:
        arrays = {name: member for name, member in node.members(max_depth=None) if isinstance(member, zarr.Array)}
    facts: dict[str, object] = {
        "arrays": [
            f"{name} {' x '.join(map(str, array.shape))} {array.dtype}" for name, array in sorted(arrays.items())
        ]
    }
    if are_embeddings(about := node.attrs.get(METADATA_KEY, dict(node.attrs))):
        return describe_embeddings(path, cast("Mapping[str, Any]", about), columns=facts["arrays"])
    groups = [] if isinstance(node, zarr.Array) else [node, *(group for _, group in node.groups())]
    forecasts = [group.attrs for group in groups if group.attrs.get("format") == FORECAST]
    if forecasts:
        facts = {
            "of": sorted(f"{about['dataset']} ({about['physics']})" for about in forecasts),
            "checkpoint": f"{forecasts[0]['checkpoint']} ({forecasts[0]['selected_by']})",
            **facts,
        }
        return describe(path, "forecasts, a zarr group", facts)
    facts = {
        **facts,
        "note": f"there is no {_MANIFEST}: this is not a store of polycli, or one whose writing was stopped",
    }
    return describe(path, "a zarr array" if isinstance(node, zarr.Array) else "a zarr group", facts)


def _plain_folder(path: Path, *, verify: bool) -> Finding:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise UserError(f"{path}: cannot be listed: {error.strerror}") from error
    stores = [entry.name for entry in entries if read_json(entry / _MANIFEST).get("format") == "polycli-store"]
    runs = [entry.name for entry in entries if (entry / "status.json").is_file()]
    partial = [entry.name for entry in entries if ".partial-" in entry.name]
    checkpoints = [
        entry.name for entry in entries if read_json(entry / _MANIFEST).get("format") == "polycli-checkpoint"
    ]
    facts: dict[str, object] = {
        "stores": stores,
        "runs": runs,
        "checkpoints": checkpoints,
        "unfinished": partial,
        "entries": [entry.name for entry in entries[:SHOWN]] if not (stores or runs or checkpoints) else None,
        "count": len(entries),
    }
    if facts["entries"] is None:
        told = {*stores, *runs, *checkpoints, *partial}
        facts["beside"] = [entry.name for entry in entries if entry.name not in told]
    kinds = {"a folder of stores": stores, "a folder of runs": runs, "a folder of checkpoints": checkpoints}
    kind = next((name for name, found in kinds.items() if found), "a folder")
    if (path / "scores.json").is_file():
        kind, facts = "an evaluation", {**_scores(path / "scores.json"), **facts}
    if verify:
        facts["verified"] = _verified(entries)
    return describe(path, kind, facts)


def _verified(entries: Sequence[Path]) -> str:
    """Verify everything in a folder that has hashes, and say how much that is.

    Raises:
        PolycliError: something is damaged.
    """
    count = 0
    for entry in entries:
        if verify_content(entry) is not None:
            count += 1
        elif any((entry / name).exists() for name in (_MANIFEST, "status.json", "checkpoints")):
            inspect_folder(entry, verify=True)
            count += 1
    if not count:
        return "nothing: no hashes were written with what is here"
    return f"{count} of {len(entries)} entries, which agree with their hashes; the others have none"


def _scores(path: Path) -> dict[str, object]:
    """Describes an evaluation: what was scored, and the scores that each family would name first."""
    scores = read_json(path)
    named = {name: fact for family in all_families() for name, fact in family.inspects().scores(scores).items()}
    return {
        "split": scores.get("split"),
        "checkpoint": f"{scores.get('checkpoint')} ({scores.get('selected_by')})",
        **named,
    }
