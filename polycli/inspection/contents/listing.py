"""One line for each part of a file, below the facts about the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from polycli.inspection.finding import Finding

#: Parts that are listed; more are counted.
LISTED = 40
_WIDEST_NAME = 40
#: Parts of one name in so many groups are told in one line.
_ALIKE = 3


def listing(finding: Finding, what: str, parts: Mapping[str, str], *, most: int = LISTED) -> Finding:
    """The finding with a line for each part, its name and what it is; the document is as it was."""
    if not parts:
        return finding
    parts = _folded(parts)
    names = list(parts)[:most]
    width = min(max(map(len, names)), _WIDEST_NAME)
    lines = [f"  {what}", *(f"    {name.ljust(width)}  {parts[name]}".rstrip() for name in names)]
    if len(parts) > most:
        lines.append(f"    and {len(parts) - most} more")
    return Finding((*finding.lines, *lines), finding.document)


def _folded(parts: Mapping[str, str]) -> dict[str, str]:
    """The parts, with `*/u` for `run0/u`, `run1/u` and more that are alike in groups of their own."""
    leaves = {name: name.rpartition("/")[2] for name in parts if "/" in name}
    alike = Counter((leaf, parts[name]) for name, leaf in leaves.items())
    kinds = Counter(leaf for leaf, _ in alike)
    found: dict[str, str] = {}
    for name, about in parts.items():
        leaf = leaves.get(name, "")
        count = alike[leaf, about] if kinds[leaf] == 1 else 0
        if count >= _ALIKE:
            found[f"*/{leaf}"] = f"{about}, in {count} groups"
        else:
            found[name] = about
    return found
