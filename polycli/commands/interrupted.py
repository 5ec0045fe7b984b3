"""The sentence after Ctrl-C: what is kept, and what the same line does when it is run again."""

from __future__ import annotations

from collections.abc import Sequence

_GOES_ON = "the same line goes on from there"
_KEPT = {
    "prepare": f"what was read so far is kept, and {_GOES_ON}",
    "pretrain": "no step was lost: the same line goes on from the newest checkpoint, or from the beginning",
    "finetune": "no step was lost: the same line goes on from the newest checkpoint, or from the beginning",
    "embed": f"units that are finished are kept, and {_GOES_ON}",
    "study": f"runs that are finished are kept, and {_GOES_ON}",
    "demo": f"commands that are finished are kept, and {_GOES_ON}",
    "search build": f"what was built so far is kept, and {_GOES_ON}",
    "weights get": f"what was fetched is kept, and {_GOES_ON}",
}
_NOTHING = "nothing was written, and the same line starts again"


def after_interrupt(arguments: Sequence[str]) -> str:
    """Says to somebody who pressed Ctrl-C what is kept, where the command has not said it itself.

    >>> after_interrupt(["eval", "mpp", "--checkpoint", "run"])
    'stopped: nothing was written, and the same line starts again'
    """
    verb = next(iter(arguments), "")
    kept = _KEPT.get(" ".join(arguments[:2])) or _KEPT.get(verb) or _NOTHING
    return f"stopped: {kept}"
