"""`polycli export`: the pair that people share, model.safetensors and its description, copied out of a run.

With `--format`, a store in a format that other projects read: which there are, its family says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from polycli import console
from polycli.checkpoints.calibration import Calibration, calibration_beside, read_calibration, write_calibration
from polycli.errors import UserError
from polycli.families import find_family
from polycli.outputs import Output, OutputKind
from polycli.references import resolve
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash

#: `--force` is a stronger word than `overwrite`: it replaces any file, but no folder and nothing that is read.
WEIGHTS = OutputKind("weights", (".safetensors",), Path.is_file, ask="--force replaces it")
CALIBRATIONS = OutputKind("calibrations", (".json",), Path.is_file, ask="--force replaces it")
DESCRIPTIONS = OutputKind("descriptions", (".json",), Path.is_file, ask="--force replaces it")


def export_store(store: Path, form: str, output: Path | None, *, force: bool = False) -> JsonDocument:
    """Write a store to the folder `output` in a format that its family knows.

    Raises:
        PolycliError: no store, no such format, or something is there already.
    """
    from polycli.store.reader import open_store

    family = find_family(open_store(store).manifest.family)
    if form not in family.exports:
        known = f"{family.name} has {', '.join(family.exports)}" if family.exports else f"{family.name} has none"
        raise UserError(f"--format {form}: no format for stores of this family: {known}")
    if output is None:
        raise UserError(f"--format {form}: where to is not said", hint="--output DIR names a new folder")
    document: JsonDocument = resolve(family.exports[form])(store, output, force=force)
    return document


def export_checkpoint(checkpoint: Path, output: Path, *, force: bool = False) -> JsonDocument:
    """Copy the weights of CHECKPOINT to `output` and beside them their description, and their calibration if there is.

    Raises:
        PolycliError: the checkpoint is none, or a file is there already.
    """
    from polycli.checkpoints.durable import write_tensors
    from polycli.checkpoints.identify import identify
    from polycli.checkpoints.metadata import DESCRIPTION_KEY, described_by, read_metadata
    from polycli.checkpoints.resolve import resolve_checkpoint
    from polycli.checkpoints.tensors import read_state_dict

    resolved = resolve_checkpoint(checkpoint)
    inside = read_metadata(resolved.model_file).get(DESCRIPTION_KEY)
    if resolved.description_file is None and inside is None:
        raise UserError(
            f"{checkpoint}: no description (model.json) belongs to these weights, so there is nothing to export",
            hint="give a run of polycli or a checkpoint in it",
        )
    pair = tuple(path for path in (resolved.model_file, resolved.description_file) if path is not None)
    description = output.with_suffix(".json")
    calibration, bounds = _calibration_of(resolved.model_file), calibration_beside(output)
    Output(output, WEIGHTS, force, pair).refuse()
    Output(description, DESCRIPTIONS, force, pair).refuse()
    Output(bounds, CALIBRATIONS, force, pair).refuse()
    with Output(output, WEIGHTS, force, pair).writing() as unfinished:
        beside = unfinished.with_suffix(".json")
        if resolved.description_file is None:
            beside.write_text(inside or "", encoding="utf-8")
        else:
            shutil.copyfile(resolved.description_file, beside)
        if inside is None and identify(resolved.model_file).kind == "safetensors":
            # An earlier version wrote them: from here on the weights say themselves what they are.
            text = beside.read_text(encoding="utf-8")
            write_tensors(unfinished, read_state_dict(resolved.model_file), described_by(text))
        else:
            shutil.copyfile(resolved.model_file, unfinished)
        if calibration is not None:
            bounds_beside = calibration_beside(unfinished)
            # Weights that were written anew have another hash.
            write_calibration(bounds_beside, calibration.of_weights(file_hash(unfinished)))
            bounds_beside.replace(bounds)
        else:
            # One of other weights, which `--force` lets go.
            bounds.unlink(missing_ok=True)
        # The description first: who finds the weights finds what belongs to them.
        beside.replace(description)
    beside_it = description.name if calibration is None else f"{description.name}, {bounds.name}"
    console.say(f"{output} and {beside_it}: {resolved.how}")
    written = {"weights": str(output), "description": str(description), "from": str(resolved.model_file)}
    return written if calibration is None else {**written, "calibration": str(bounds)}


def _calibration_of(weights: Path) -> Calibration | None:
    """The calibration beside a file of weights; None where there is none, or one of other weights, which is said."""
    path = calibration_beside(weights)
    if not path.exists():
        return None
    calibration = read_calibration(path)
    if calibration.model_hash != file_hash(weights):
        console.warn(f"{path}: stays behind, for it was made for other weights than {weights}")
        return None
    return calibration
