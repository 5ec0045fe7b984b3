"""`polycli.embed_partition`: a function that adds vectors to tables, in whatever engine goes over a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.errors import UserError
from polycli.families import require_verb, verb_module

if TYPE_CHECKING:
    from polycli.workflow.embedding.partitions import EmbedPartition


def embed_partition(family: str, checkpoint: str | Path, **options: Any) -> EmbedPartition:  # noqa: ANN401
    """A picklable function from a table to the same rows with vectors; pandas, nested-pandas and pyarrow tables.

    The model is opened by the process that calls it first, once. Columns and units are compared with those of the
    training as `polycli embed` does.

    Args:
        family: `xval`, whose records are columns of the table, or `astroclip`, whose images and spectra are cells.
        checkpoint: a run, a checkpoint in it, or a file of weights.
        **options: those of `polycli.xval.scoring.partition.record_partition`, or of
            `polycli.astroclip.scoring.partition.object_partition`.

    Raises:
        UserError: the family has no rows that a table holds.

    Example:
        >>> embed = embed_partition("xval", "star.safetensors", columns=["redshift", "mag_r"])
        >>> embed.reads
        ('redshift', 'mag_r')
    """
    require_verb(family, "embed")
    make = getattr(verb_module(family, "embed"), "partition", None)
    if make is None:
        raise UserError(f"rows of {family} are no rows of a table", hint="polycli embed takes its stores and files")
    made: EmbedPartition = make(checkpoint, **options)
    return made
