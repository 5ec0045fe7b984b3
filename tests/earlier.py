"""Makes runs and exports look as earlier versions of polycli wrote them, so that tests can open those."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from polycli.checkpoints.manifest import MANIFEST_NAME, MODEL_NAME, read_manifest, write_manifest

#: Sections that model.json did not have before its schema 2.
NEW_SECTIONS = ("trained",)


def as_schema_1(folder: Path) -> Path:
    """Rewrite the weights and model.json in a checkpoint or an export; the weights then say nothing of themselves."""
    weights, description = folder / MODEL_NAME, folder / "model.json"
    document = json.loads(description.read_text())
    document["schema_version"] = 1
    for name in NEW_SECTIONS:
        document.pop(name, None)
    for entry in document.get("trained_on", {}).values():
        for name in set(entry) - {"store_hash", "rows"}:
            entry.pop(name)
    description.write_text(json.dumps(document, indent=2))
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    if (folder / MANIFEST_NAME).is_file():
        manifest = read_manifest(folder)
        (folder / MANIFEST_NAME).unlink()
        metric = None if manifest.metric is None else (manifest.metric.name, manifest.metric.value)
        write_manifest(
            folder,
            step=manifest.step,
            family=manifest.family,
            verb=manifest.verb,
            world_size=manifest.world_size,
            zero_stage=manifest.zero_stage,
            optimizer=manifest.optimizer,
            metric=metric,
        )
    return folder
