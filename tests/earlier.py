"""Makes runs, stores and exports look as earlier versions of polycli wrote them, so that tests can open those."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from polycli.checkpoints.manifest import MANIFEST_NAME, MODEL_NAME, read_manifest, write_manifest
from polycli.engine.seals import SEALS_NAME
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import CHECKSUM_KEY
from polycli.store.manifest import MANIFEST_NAME as STORE_MANIFEST
from polycli.workflow.identity import PART_PREFIX

#: Sections that model.json did not have before its schema 2.
NEW_SECTIONS = ("trained", "masking", "reading")


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


def store_as_schema_1(store: Path) -> Path:
    """Rewrite a store as versions wrote it that knew no parts of rows, and did not say whose the ids are."""
    document = json.loads((store / STORE_MANIFEST).read_text(encoding="utf-8"))
    for name in [name for name in document["arrays"] if name.startswith(PART_PREFIX)]:
        del document["arrays"][name]
        document["files"] = {
            file: entry for file, entry in document["files"].items() if not file.startswith(f"{name}/")
        }
        shutil.rmtree(store / name)
    document |= {"schema_version": 1, "version": "0.1.0"}
    del document["row_ids_given"], document[CHECKSUM_KEY]
    text = json.dumps({**document, CHECKSUM_KEY: canonical_hash(document)}, indent=1, ensure_ascii=False)
    (store / STORE_MANIFEST).write_text(text + "\n", encoding="utf-8")
    return store


def run_as_schema_1(run: Path) -> Path:
    """Rewrite a run as versions wrote it that sealed nothing and kept less of its state and of its stores."""
    for checkpoint in (run / "checkpoints").iterdir():
        trainer = json.loads((checkpoint / "trainer.json").read_text(encoding="utf-8"))
        for name in ("learning_rate", "metrics_bytes", "metrics_sha256"):
            trainer["state"].pop(name, None)
        (checkpoint / "trainer.json").write_text(json.dumps(trainer), encoding="utf-8")
        as_schema_1(checkpoint)
        # The manifest of before had no hash of itself.
        manifest = json.loads((checkpoint / MANIFEST_NAME).read_text(encoding="utf-8"))
        manifest["schema_version"] = 1
        manifest.pop("manifest_sha256", None)
        (checkpoint / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    for entry in data.values():
        entry.pop("described", None)
    (run / "data.json").write_text(json.dumps(data), encoding="utf-8")
    (run / SEALS_NAME).unlink()
    return run
