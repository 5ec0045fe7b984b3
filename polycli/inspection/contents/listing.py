"""One line for each part of a file, below the facts about the whole."""

from __future__ import annotations

from collections.abc import Mapping

from polycli.inspection.finding import Finding

#: Parts that are listed; more are counted.
LISTED = 40
_WIDEST_NAME = 40


def listing(finding: Finding, what: str, parts: Mapping[str, str], *, most: int = LISTED) -> Finding:
    """The finding with a line for each part, its name and what it is; the document is as it was."""
    if not parts:
        return finding
    names = list(parts)[:most]
    width = min(max(map(len, names)), _WIDEST_NAME)
    lines = [f"  {what}", *(f"    {name.ljust(width)}  {parts[name]}".rstrip() for name in names)]
    if len(parts) > most:
        lines.append(f"    and {len(parts) - most} more")
    return Finding((*finding.lines, *lines), finding.document)
