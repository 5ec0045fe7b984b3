"""`polycli embed xval`: records to one vector each, and one for every number, with ids and key paths."""

from __future__ import annotations

from polycli.console import counted, rank, result, say
from polycli.errors import SourceError
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import EmbedRequest, JsonDocument
from polycli.xval.model.loaded import load_checkpoint
from polycli.xval.predicting.inputs import counting, encode, open_inputs
from polycli.xval.recipe.settings import EmbedSettings
from polycli.xval.records.keypaths import refuse_unknown
from polycli.xval.records.units import known_units, refuse_other_units
from polycli.xval.scoring.embedding_files import refuse_target, writing
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.pooling import vectors_of


def run(request: EmbedRequest) -> JsonDocument | None:
    """Write the vectors of all records of the data.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("xval", "embed", request.overrides, schema=EmbedSettings)
    refuse_target(request.output, overwrite=settings.overwrite)
    if rank() > 0:
        return None  # One process writes.
    loaded = load_checkpoint(request.checkpoint)
    refuse_unknown(settings.keys, loaded.tokenization.language.key_paths, where="keys")
    data = open_inputs(
        expand_paths(request.data),
        table=settings.table,
        split=request.split,
        limit=request.limit,
        batch_records=settings.batch_records,
    )
    learned = known_units(loaded.tokenization.units, loaded.run)
    refuse_other_units(data.units, learned, source=str(request.data[0]))
    filler = Filler(loaded.model, loaded.tokenization, settings.batch_tokens)
    dimension = loaded.model.section.embed_dim
    origin = {**loaded.provenance(), "data": [str(path) for path in request.data], "pooling": "mean over tokens"}
    records = numbers = 0
    with (
        writing(request.output, origin, dimension, numbers=settings.numbers) as writer,
        counting(data.count, "embedding") as advance,
    ):
        for batch in data.batches:
            encoded = encode(batch, loaded.tokenization)
            vectors = vectors_of(filler, encoded, numbers=settings.numbers, keys=settings.keys)
            writer.write(vectors, encoded.key_paths)
            records += len(vectors.ids)
            numbers += len(vectors.numbers)
            advance(len(batch))
        if not records:
            raise SourceError(f"{request.data[0]}: there are no records")
    document = {
        "output": str(request.output),
        **loaded.provenance(),
        "records": records,
        "numbers": numbers,
        "dimension": dimension,
    }
    if not request.json:
        say(f"{counted(records, 'record', 'records')}, {counted(numbers, 'number', 'numbers')}, dimension {dimension}")
        result(str(request.output))
    return document
