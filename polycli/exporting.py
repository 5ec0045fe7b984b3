"""`polycli export`: the pair that people share, model.safetensors and its description, copied out of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

from polycli import console
from polycli.errors import UserError
from polycli.paths import refuse_unwritable
from polycli.requests import JsonDocument


def export_checkpoint(checkpoint: Path, output: Path, *, force: bool = False) -> JsonDocument:
    """Copy the weights of CHECKPOINT to `output` and their description beside it, as `.json`.

    Raises:
        PolycliError: the checkpoint is none, or a file is there already.
    """
    from polycli.checkpoints.resolve import resolve_checkpoint

    if output.suffix != ".safetensors":
        raise UserError(
            f"{output}: weights go into a .safetensors file", hint=f"--output {output.with_suffix('.safetensors')}"
        )
    description = output.with_suffix(".json")
    for path in (output, description):
        if path.exists() and not force:
            raise UserError(f"{path} is there already", hint="--force replaces it")
    resolved = resolve_checkpoint(checkpoint)
    if resolved.description_file is None:
        raise UserError(
            f"{checkpoint}: no description (model.json) belongs to these weights, so there is nothing to export",
            hint="give a run of polycli or a checkpoint in it",
        )
    refuse_unwritable(output.parent, what="weights")
    output.parent.mkdir(parents=True, exist_ok=True)
    for source, target in ((resolved.model_file, output), (resolved.description_file, description)):
        # A copy that is cut short never carries the final name.
        partial = target.with_name(f"{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
    console.say(f"{output} and {description.name}: {resolved.how}")
    return {"weights": str(output), "description": str(description), "from": str(resolved.model_file)}
