"""`polycli export`: the pair that people share, model.safetensors and its description, copied out of a run.

With `--format`, a store in a format that other projects read: which there are, its family says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polycli import console
from polycli.checkpoints.calibration import calibration_beside, read_calibration, write_calibration
from polycli.checkpoints.training_vectors import read_statistics, statistics_beside, write_statistics
from polycli.errors import UserError
from polycli.families import find_family
from polycli.outputs import Output, OutputKind
from polycli.references import resolve
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash

#: `--force` is a stronger word than `overwrite`: it replaces any file, but no folder and nothing that is read.
WEIGHTS = OutputKind("weights", (".safetensors",), Path.is_file, ask="--force replaces it")
CALIBRATIONS = OutputKind("calibrations", (".json",), Path.is_file, ask="--force replaces it")
STATISTICS = OutputKind("statistics of training vectors", (".npz",), Path.is_file, ask="--force replaces it")
DESCRIPTIONS = OutputKind("descriptions", (".json",), Path.is_file, ask="--force replaces it")

#: Writes to a path what holds for weights, under the hash that these have now.
Write = Callable[[Path, str], None]


@dataclass(frozen=True)
class Companion:
    """A kind of file beside weights that names them by their hash, and goes along with them."""

    #: What the document that is printed calls it.
    key: str
    kind: OutputKind
    #: Its place beside a file of weights.
    beside: Callable[[Path], Path]
    #: The hash of the weights that a file is of, and what writes it for others.
    read: Callable[[Path], tuple[str, Write]]

    def of(self, weights: Path) -> Write | None:
        """Returns what writes the one of these weights; None where there is none, or one of others, which is said."""
        path = self.beside(weights)
        if not path.exists():
            return None
        model_hash, write = self.read(path)
        if model_hash != file_hash(weights):
            console.warn(f"{path}: stays behind, for it was made for other weights than {weights}")
            return None
        return write


def _calibration(path: Path) -> tuple[str, Write]:
    found = read_calibration(path)
    return found.model_hash, lambda target, model_hash: write_calibration(target, found.of_weights(model_hash))


def _statistics(path: Path) -> tuple[str, Write]:
    arrays, own = read_statistics(path)
    return own, lambda target, model_hash: write_statistics(target, arrays, model_hash)


COMPANIONS = (
    Companion("calibration", CALIBRATIONS, calibration_beside, _calibration),
    Companion("statistics", STATISTICS, statistics_beside, _statistics),
)


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
    """Copy the weights of CHECKPOINT to `output` and beside them their description, and what `calibrate` kept of them.

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
    companions = [(each, each.beside(output), each.of(resolved.model_file)) for each in COMPANIONS]
    Output(output, WEIGHTS, force, pair).refuse()
    Output(description, DESCRIPTIONS, force, pair).refuse()
    for each, target, _ in companions:
        Output(target, each.kind, force, pair).refuse()
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
        for each, target, write in companions:
            if write is None:
                # One of other weights, which `--force` lets go.
                target.unlink(missing_ok=True)
                continue
            # Weights that were written anew have another hash.
            write(each.beside(unfinished), file_hash(unfinished))
            each.beside(unfinished).replace(target)
        # The description first: who finds the weights finds what belongs to them.
        beside.replace(description)
    taken = {each.key: target for each, target, write in companions if write is not None}
    console.say(f"{output} and {', '.join(path.name for path in (description, *taken.values()))}: {resolved.how}")
    written = {"weights": str(output), "description": str(description), "from": str(resolved.model_file)}
    return written | {key: str(target) for key, target in taken.items()}
