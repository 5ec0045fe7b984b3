"""Files: told apart by their first bytes, then described by their headers; bulk data is not read."""

from __future__ import annotations

import math
import mmap
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

from polycli.checkpoints.archives import holds_program, members_of, refuse_packed
from polycli.checkpoints.calibration import FORMAT as CALIBRATION
from polycli.checkpoints.identify import LONGEST_HEADER
from polycli.checkpoints.metadata import DESCRIPTION_KEY
from polycli.checkpoints.pickles import imports_of, imports_of_file
from polycli.checkpoints.tensor_files import read_header
from polycli.errors import CheckpointError, PolycliError, SourceError
from polycli.families import all_families
from polycli.files.documents import LARGEST_DOCUMENT, parse_json, read_json
from polycli.files.plain import open_plain, read_bytes, reason_of
from polycli.inspection.calibrations import describe_calibration
from polycli.inspection.embeddings import are_embeddings, describe_embeddings
from polycli.inspection.finding import Finding, byte_size, describe, shortened
from polycli.store.embeddings.manifest import METADATA_KEY

_HDF5 = b"\x89HDF\r\n\x1a\n"
#: Bytes of a line of JSON that are looked at together.
_LONGEST_LINE = 2**24
#: What plain tensors in plain containers need.
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|(__builtin__|builtins)\.(set|bytearray|complex)|_codecs\.encode|torch\._utils\._rebuild_\w+|torch\.\w+Storage|torch\.storage\.\w+"
    r"|torch\.b?float\d+|torch\.int\d+|torch\.Size"
    r"|numpy\.dtype|numpy\.(_?core)\.multiarray\.(scalar|_reconstruct)|numpy\.ndarray"
)


def inspect_file(path: Path) -> Finding:
    """Recognises and describes a file.

    Raises:
        PolycliError: it cannot be read, or is damaged where its kind can tell.
    """
    try:
        with open_plain(path) as file:
            start = file.read(64)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {reason_of(error)}") from error
    for recognises, describes in _KINDS:
        if recognises(start, path):
            return describes(path)
    facts = _records(path)
    if facts:
        return describe(path, "a table", {"size": _size(path), **facts})
    return describe(path, "a file that polycli does not know", {"size": _size(path), "starts with": repr(start[:16])})


def _records(path: Path) -> dict[str, object]:
    """Describes what `prepare` of each family would make of a file of records."""
    return {name: fact for family in all_families() for name, fact in family.inspects().records_file(path).items()}


def _hdf5(path: Path) -> Finding:
    from polycli.inspection.contents.hdf5 import describe_hdf5

    return describe_hdf5(path, _by_families)


def _by_families(path: Path) -> dict[str, object]:
    """Describes what `prepare` of each family would find in the file."""
    return {name: fact for family in all_families() for name, fact in family.inspects().source_file(path).items()}


def _fits(path: Path) -> Finding:
    from polycli.inspection.contents.fits import describe_fits

    return describe_fits(path)


def _safetensors(path: Path) -> Finding:
    header = read_header(path)
    metadata = dict(header.metadata)
    inside = metadata.pop(DESCRIPTION_KEY, None)
    numbers = sum(math.prod(tensor.shape) for tensor in header.tensors.values())
    dtypes = sorted({tensor.dtype for tensor in header.tensors.values()})
    facts = {
        "size": _size(path),
        "tensors": f"{len(header.tensors)}, {numbers:,} numbers, {', '.join(dtypes)}",
        "names": list(header.tensors),
        "metadata": metadata,
        **_description(path, inside),
    }
    return describe(path, "a safetensors file", facts)


def _description(path: Path, inside: object) -> dict[str, object]:
    """Returns the weights' own description, or that of model.json beside them."""
    try:
        text = read_bytes(path.with_suffix(".json"), LARGEST_DOCUMENT) if inside is None else str(inside)
        document = parse_json(text)
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("format") != "polycli-model":
        return {}
    about = f"{document.get('family')}, {document.get('verb')}, step {document.get('step')}"
    trained_on = document.get("trained_on")
    return {"model": about, "trained on": sorted(trained_on) if isinstance(trained_on, dict) else None}


def _archive(path: Path) -> Finding:
    members = members_of(path)
    if holds_program(members):
        facts = {
            "size": _size(path),
            "members": list(members),
            "beware": "its code would run where it is loaded; polycli loads no such file",
        }
        return describe(path, "a TorchScript archive", facts)
    pickles = [name for name in members if name.endswith("data.pkl")]
    if not pickles:
        return describe(path, "a zip archive", {"size": _size(path), "members": list(members)})
    refuse_packed(path, members)
    try:
        with zipfile.ZipFile(path) as archive:
            program = archive.read(pickles[0])
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path}: a PyTorch file whose pickle cannot be read: {reason_of(error)}") from error
    return _pickle_facts(path, "a PyTorch file", imports_of(BytesIO(program)), tensors=True)


def _bare_pickle(path: Path) -> Finding:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        return _pickle_facts(path, "a pickle", imports_of_file(program))


def _pickle_facts(path: Path, kind: str, imports: Iterable[str], *, tensors: bool = False) -> Finding:
    """The names that unpickling would import, from the instructions alone: nothing is run."""
    try:
        found = sorted(set(imports))
    except ValueError as error:
        raise CheckpointError(f"{path}: {kind} that cannot be read: {error}") from error
    strange = [name for name in found if not _HARMLESS.fullmatch(name)]
    facts = {
        "size": _size(path),
        **(_tensors(path) if tensors and not strange else {}),
        "imports": found,
        "beware": f"unpickling would bring in {shortened(strange)}" if strange else None,
        "note": "polycli reads such files without running what they contain",
    }
    return describe(path, kind, facts)


def _tensors(path: Path) -> dict[str, object]:
    """The tensors of a PyTorch file that imports nothing but tensors, and the model that they make, if they do."""
    from polycli.checkpoints.tensors import read_state_dict

    try:
        tensors = read_state_dict(path)
    except CheckpointError as error:
        return {"beware": error.message.removeprefix(f"{path}: ")}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    facts: dict[str, object] = {
        "tensors": f"{len(tensors)}, {numbers:,} numbers, {', '.join(dtypes)}",
        "names": list(tensors),
    }
    models = {family.name: family.inspects().tensors(tensors) for family in all_families()}
    facts["model"] = ", or ".join(f"{name}, {sizes}" for name, sizes in models.items() if sizes is not None)
    return facts


def _numpy(path: Path) -> Finding:
    from polycli.inspection.contents.arrays import describe_numpy

    return describe_numpy(path)


def _parquet(path: Path) -> Finding:
    from polycli.files.parquet import open_parquet

    with open_parquet(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        columns = [f"{column.name} {column.type}" for column in schema]
        metadata = (schema.metadata or {}).get(METADATA_KEY.encode())
    try:
        about = parse_json(metadata) if metadata is not None else {}
    except ValueError:
        about = {}
    if are_embeddings(about):
        return describe_embeddings(path, about, columns=columns, size=_size(path))
    facts = {"size": _size(path), "rows": rows, "columns": columns}
    if isinstance(about, dict) and "checkpoint" in about:
        facts |= {"checkpoint": about["checkpoint"], "by": about.get("by")}
    else:
        facts |= _records(path)
    return describe(path, "a Parquet file", facts)


def _yaml(path: Path) -> Finding:
    from polycli.recipes import load_any_recipe

    try:
        recipe = load_any_recipe(str(path)).model_dump(mode="json")
    except PolycliError as error:
        return describe(
            path,
            "a YAML file, but not a valid recipe",
            {"because": error.message.splitlines()[0], "more": f"polycli recipes check {path}"},
        )
    sections = {name: len(value) for name, value in recipe.items() if isinstance(value, dict)}
    kind = f"a recipe for `{recipe['verb']} {recipe['family']}`"
    return describe(path, kind, {"sections": list(sections)})


def _json(path: Path) -> Finding:
    if path.suffix == ".jsonl":
        return _json_lines(path)
    if path.stat().st_size > LARGEST_DOCUMENT:
        return describe(path, "a file as large as no JSON document of polycli", {"size": _size(path)})
    document = read_json(path, SourceError, what="a JSON document")
    keys = list(document) if isinstance(document, dict) else []
    if "format" in keys and document["format"] == CALIBRATION:
        return describe_calibration(path)
    named = {"format": document.get("format")} if isinstance(document, dict) else {}
    own = isinstance(document, dict) and str(document.get("format", "")).startswith("polycli-")
    facts = {} if own else _records(path)
    return describe(path, "a JSON document", {"size": _size(path), **named, "keys": keys, **facts})


def _json_lines(path: Path) -> Finding:
    count, last = 0, b""
    with open_plain(path) as file:
        # In pieces: a line may be as long as the file.
        while line := file.readline(_LONGEST_LINE):
            if line.strip():
                count, last = count + 1, line
    try:
        document = parse_json(last) if last else {}
    except ValueError as error:
        raise SourceError(f"{path}: a JSON document cannot be read, the last of {count}: {reason_of(error)}") from error
    keys = sorted(document) if isinstance(document, dict) else []
    return describe(path, "JSON lines", {"size": _size(path), "lines": count, "keys": keys, **_records(path)})


def _looks_like_safetensors(start: bytes, path: Path) -> bool:
    if path.suffix == ".safetensors":
        return True
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def _size(path: Path) -> str:
    return byte_size(path.stat().st_size)


#: In order: how a kind is recognised by its first bytes (or, where those do not tell, its name), and who describes it.
_KINDS: tuple[tuple[Callable[[bytes, Path], bool], Callable[[Path], Finding]], ...] = (
    (lambda start, path: start.startswith(_HDF5) or path.suffix in {".h5", ".hdf5"}, _hdf5),
    (lambda start, _: start.startswith(b"SIMPLE  ="), _fits),
    (lambda start, path: start.startswith(b"\x93NUMPY") or path.suffix == ".npz", _numpy),
    (lambda start, _: start.startswith(b"PAR1"), _parquet),
    (lambda start, _: start.startswith(b"PK\x03\x04"), _archive),
    (_looks_like_safetensors, _safetensors),
    (lambda start, _: start[:1] == b"\x80" and start[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}, _bare_pickle),
    (lambda _, path: path.suffix in {".yaml", ".yml"}, _yaml),
    (lambda _, path: path.suffix in {".json", ".jsonl"}, _json),
)
