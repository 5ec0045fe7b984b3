"""Turns nested columns of Arrow into arrays: fields of structs, lists of lists, rows that are absent.

The Multimodal Universe writes an image as a struct of lists, one entry for each band, or as a list of structs; a
spectrum likewise, one entry for each pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError


def nested_field(column: Any, name: str) -> Any:  # noqa: ANN401  # pyarrow's arrays
    """A field of a struct, or of the structs in a list, as a list for each row.

    Raises:
        KeyError: there is no such field.
    """
    import pyarrow as pa

    array = _plain(column)
    if pa.types.is_struct(array.type):
        if array.type.get_field_index(name) < 0:
            raise KeyError(name)
        # By its own buffers a field does not know which structs are absent; flattened, it does.
        return array.flatten()[array.type.get_field_index(name)]
    if array.offset or len(array.offsets) - 1 != len(array) or array.offsets[0].as_py():
        # Offsets of a part of an array begin elsewhere; taken, the part is an array of its own.
        array = array.take(pa.array(range(len(array))))
    return pa.ListArray.from_arrays(array.offsets, nested_field(array.values, name), mask=_absent(array))


def has_field(kind: Any, name: str) -> bool:  # noqa: ANN401  # pyarrow's types
    """Whether a type is a struct, or a list of structs, with a field of that name."""
    import pyarrow as pa

    while _is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_struct(kind) and kind.get_field_index(name) >= 0)


def depth(kind: Any) -> int:  # noqa: ANN401
    """How many lists of numbers lie within each other: 1 for a spectrum, 3 for an image of several bands; 0 else."""
    import pyarrow as pa

    levels = 0
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    while _is_list(kind):
        kind, levels = kind.value_type, levels + 1
    return levels if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) else 0


def dense(
    column: Any,  # noqa: ANN401
    axes: int,
    *,
    what: str,
    shape: tuple[int, ...] | None = None,
) -> NDArray[np.float32]:
    """Lists within lists, all of one shape, as (rows, ...) with so many axes behind; rows that are absent are NaN.

    Raises:
        SourceError: rows have different shapes, or there are fewer lists within each other.
    """
    import pyarrow.compute as pc

    array = _plain(column)
    count, absent = len(array), _absent(array)
    if shape is not None and array.null_count == count:
        return np.full((count, *shape), np.nan, np.float32)
    sizes: list[int] = []
    for _ in range(axes):
        if not _is_list(array.type):
            raise SourceError(f"{what}: values have {len(sizes)} axes, {axes} were expected")
        lengths = pc.list_value_length(array).drop_null().unique().to_pylist()
        if len(lengths) > 1:
            raise SourceError(f"{what}: sizes differ from object to object: {sorted(lengths)[:2]}")
        sizes.append(lengths[0] if lengths else 0)
        array = _plain(array.flatten())
    if shape is not None and tuple(sizes) != shape:
        raise SourceError(f"{what}: sizes differ from object to object: {tuple(sizes)}, {shape} was expected")
    shape = tuple(sizes)
    there = np.asarray(array.to_numpy(zero_copy_only=False), np.float32)
    known = count if absent is None else count - int(np.asarray(absent).sum())
    if there.size != known * int(np.prod(shape)):
        raise SourceError(f"{what}: some objects lack a part of their values")
    there = there.reshape(known, *shape)
    if known == count:
        return there
    values = np.full((count, *shape), np.nan, np.float32)
    values[~np.asarray(absent)] = there
    return values


def padded(column: Any, filler: float, *, what: str) -> NDArray[np.float64]:  # noqa: ANN401
    """Lists of numbers or truth values as (rows, the longest), the shorter ones filled up; absent ones are fillers.

    Raises:
        SourceError: the values are no lists of numbers.
    """
    import pyarrow.compute as pc

    array = _plain(column)
    if depth(array.type) != 1:
        raise SourceError(f"{what}: holds {array.type}, a list of numbers for each object was expected")
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0), np.int64)
    flat = np.asarray(pc.fill_null(_plain(array.flatten()), filler != 0) if _is_truth(array) else array.flatten())
    values = np.full((len(array), int(lengths.max(initial=0))), filler, np.float64)
    values[np.arange(values.shape[1]) < lengths[:, None]] = flat
    return values


def vector_of(column: Any) -> Any:  # noqa: ANN401
    """A column of numbers, truth values or texts as numpy has it; None for other kinds.

    Floats are NaN where a row is absent, other columns masked arrays.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _plain(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (is_text or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    if pa.types.is_floating(kind) or not array.null_count:
        return array.to_numpy(zero_copy_only=False)
    absent = array.is_null().to_numpy(zero_copy_only=False)
    filled = pc.fill_null(array, pa.scalar("" if is_text else 0).cast(kind))
    return np.ma.masked_array(filled.to_numpy(zero_copy_only=False), absent)


def _plain(column: Any) -> Any:  # noqa: ANN401
    """One array without chunks, extension types and fixed sizes."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _is_list(kind: Any) -> bool:  # noqa: ANN401
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_truth(array: Any) -> bool:  # noqa: ANN401
    import pyarrow as pa

    return bool(pa.types.is_boolean(array.type.value_type))


def _absent(array: Any) -> Any:  # noqa: ANN401
    """Truth values of which rows are absent; None where none is."""
    return array.is_null() if array.null_count else None
