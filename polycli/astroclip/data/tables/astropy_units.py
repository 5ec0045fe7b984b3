"""Reads units of columns from the text with which astropy describes tables in HDF5 and Parquet files."""

from __future__ import annotations

from typing import Any

import yaml


class _Plain(yaml.SafeLoader):
    """YAML whose tags construct nothing: what they stand before is read as it is."""


def _untagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:  # noqa: ANN401, ARG001  # any YAML
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else str(node.value)


_Plain.add_multi_constructor("!", _untagged)


def units_described(text: str) -> dict[str, str]:
    """Maps columns to their units, those alone that have one; nothing where the text is no such description.

    >>> units_described("datatype: [{name: RA, unit: hourangle, datatype: float64}, {name: ID, datatype: int64}]")
    {'RA': 'hourangle'}
    """
    try:
        found = yaml.load(text, Loader=_Plain)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, RecursionError):
        return {}
    columns = found.get("datatype") if isinstance(found, dict) else None
    units = {}
    for column in columns if isinstance(columns, list) else ():
        unit = column.get("unit") if isinstance(column, dict) else None
        if isinstance(unit, dict):  # As older versions wrote it: !astropy.units.Unit {unit: nJy}
            unit = unit.get("unit")
        if isinstance(unit, str):
            units[str(column.get("name"))] = unit
    return units
