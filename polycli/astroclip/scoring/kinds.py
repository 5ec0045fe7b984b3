"""The kinds of vectors that `embed` writes of an object: of its image, of its spectrum, and of both together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import MODALITIES, Modality
from polycli.astroclip.recipe.settings import EmbedSettings
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.retrieval import unit
from polycli.errors import CheckpointError, StoreError

#: A column of vectors is called by their kind and this.
SUFFIX = "_embedding"
#: Root mean square distance of vectors from their mean, over their root mean square length, below which they are alike.
_ALIKE = 0.01
#: Fewer vectors than these may be alike by chance.
_FEWEST = 3


def kinds_of(
    loaded: LoadedAstroClip, modalities: Sequence[str], settings: EmbedSettings, *, what: str
) -> tuple[str, ...]:
    """The kinds of vectors that model and data have together, or those that were asked for.

    Args:
        loaded: the model.
        modalities: those that model and data share.
        settings: what was asked for.
        what: what messages call the data.

    Raises:
        StoreError: one that was asked for is not there.
        CheckpointError: a fused vector was asked of a model that was not aligned.
    """
    aligned = len(modalities) == 2 and loaded.model.section.heads is not None
    there: tuple[str, ...] = (*modalities, "fused") if aligned else tuple(modalities)
    hint = f"--set 'vectors=[{', '.join(there)}]'"
    for kind in settings.vectors:
        if kind == "fused" and kind not in there:
            raise CheckpointError(
                "fused vectors are the mean of aligned image and spectrum vectors, and model or data lack one of them",
                hint=hint,
            )
        if kind not in there:
            raise StoreError(f"{what}: there are no {kind} vectors, only {', '.join(there)}", hint=hint)
    return settings.vectors or there


def encoded_for(kinds: Sequence[str]) -> list[Modality]:
    """The modalities that must be encoded for some kinds of vectors.

    >>> encoded_for(["image"]), encoded_for(["fused"])
    (['image'], ['image', 'spectrum'])
    """
    return [name for name in MODALITIES if name in kinds or "fused" in kinds]


def encoded(
    encoder: Encoder, kinds: Sequence[str], rows: NDArray[np.int64], *, advance: Callable[[int], None]
) -> dict[str, NDArray[np.float32]]:
    """Returns (n, width) vectors of some rows, by modality, as the encoders make them."""
    needed = encoded_for(kinds)
    made: dict[str, NDArray[np.float32]] = {}
    for name in needed:
        # An object is done when the last of its vectors is.
        made[name] = encoder.vectors(name, rows, advance=advance if name == needed[-1] else lambda _: None)
    return made


def vectors_of_kinds(
    made: Mapping[str, NDArray[np.float32]], kinds: Sequence[str], settings: EmbedSettings
) -> dict[str, NDArray[Any]]:
    """Returns (n, width) vectors by kind, of the type and length that was asked for, from those of the encoders."""
    made = dict(made)
    if "fused" in kinds:
        made["fused"] = (unit(made["image"]) + unit(made["spectrum"])) / np.float32(2)
    vectors = {kind: unit(made[kind]) if settings.normalise else made[kind] for kind in kinds}
    return {kind: values.astype(settings.dtype) for kind, values in vectors.items()}


def are_alike(vectors: NDArray[Any]) -> bool:
    """Whether vectors, (n, width), are all equal or nearly so: each within about half a degree of their mean.

    >>> are_alike(np.ones((8, 4))), are_alike(np.eye(8))
    (True, False)
    """
    if len(vectors) < _FEWEST:
        return False
    exact = vectors.astype(np.float64)
    length = np.square(exact).sum(axis=1).mean()
    return bool(np.square(exact - exact.mean(axis=0)).sum(axis=1).mean() <= _ALIKE**2 * length)


def alike_sentence(kind: str, count: int) -> str:
    """The sentence about vectors of a kind that do not vary, and what that may come from."""
    return (
        f"the {kind} vectors of {count:,} objects are all but equal: either the encoder has collapsed (look at its "
        "training's loss, and at another checkpoint), or its inputs are all alike (a constant band, another unit). "
        "Neighbours and probes tell nothing of them"
    )
