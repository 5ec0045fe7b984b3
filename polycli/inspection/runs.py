"""Runs and the checkpoints in them: what they are, in a few lines."""

from __future__ import annotations

import json
from pathlib import Path

from polycli.checkpoints.manifest import best_checkpoint, damages, list_checkpoints, read_manifest
from polycli.checkpoints.manifest import verify as check_hashes
from polycli.console import counted
from polycli.files.documents import LARGEST_DOCUMENT
from polycli.files.plain import read_bytes
from polycli.inspection.calibrations import calibrated_datasets
from polycli.inspection.finding import Finding, byte_size, describe, read_json, shortened
from polycli.inspection.run_damage import verify_run


def describe_checkpoint(path: Path, *, verify: bool) -> Finding:
    """Describes a checkpoint of a run.

    Raises:
        CheckpointError: it is damaged; with `verify`, a byte of it has changed.
    """
    manifest = check_hashes(path) if verify else read_manifest(path)
    metric = manifest.metric
    resumable = manifest.optimizer and f"can be resumed with {manifest.optimizer} on any number of processes"
    facts = {
        "step": manifest.step,
        "score": None if metric is None else f"{metric.name} {metric.value:.4g}",
        "written by": f"{counted(manifest.world_size, 'rank', 'ranks')} at ZeRO stage {manifest.zero_stage}",
        "training": resumable,
        "size": f"{byte_size(sum(file.size for file in manifest.files.values()))} in {len(manifest.files)} files",
        "calibrated for": calibrated_datasets(path, verify=verify),
        "verified": "every file has the hash that the manifest says" if verify else None,
    }
    document = {"kind": "checkpoint", "path": str(path), **manifest.model_dump(mode="json")}
    return describe(path, f"a checkpoint of `{manifest.verb} {manifest.family}`", facts, document)


def describe_run(path: Path, *, verify: bool) -> Finding:
    """Describes a run and how it stands.

    Raises:
        CheckpointError: with `verify`, a checkpoint is damaged.
        RunError: with `verify`, another file of the run is.
    """
    verified = verify_run(path) if verify else None
    status = read_json(path / "status.json")
    checkpoints = list_checkpoints(path)
    best = best_checkpoint(checkpoints)
    first = checkpoints[-1].manifest if checkpoints else None
    kind = f"a run of `{first.verb} {first.family}`" if first else "a run"
    facts = {
        "state": status.get("state"),
        "step": status.get("step"),
        "message": status.get("message"),
        "checkpoints": [checkpoint.directory.name for checkpoint in checkpoints],
        "damaged": [directory.name for directory in damages(path)],
        "best": None
        if best is None or best.manifest.metric is None
        else f"{best.directory.name}, {best.manifest.metric.name} {best.manifest.metric.value:.4g}",
        "trained on": sorted(read_json(path / "data.json")),
        "recipe": str(path / "recipe.yaml") if (path / "recipe.yaml").is_file() else None,
        "last line": _last_metrics(path / "metrics.jsonl"),
        "verified": verified,
    }
    document = {
        "kind": "run",
        "path": str(path),
        "status": status,
        "checkpoints": [checkpoint.manifest.model_dump(mode="json", exclude={"files"}) for checkpoint in checkpoints],
        "best": None if best is None else best.directory.name,
    }
    return describe(path, kind, facts, document)


def _last_metrics(path: Path) -> str | None:
    try:
        lines = read_bytes(path, LARGEST_DOCUMENT).decode("utf-8").splitlines()
        last = json.loads(lines[-1])
        numbers = [f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, float)]
    except (OSError, ValueError, LookupError, AttributeError, RecursionError):
        return None
    return f"step {last.get('step')}: {shortened(numbers)}"
