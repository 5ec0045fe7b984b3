"""One switch for all encodings, and the exponents that cover given data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import CheckpointError, RecipeError
from polycli.xval.numbers.base import Encoding
from polycli.xval.numbers.continuous import Continuous
from polycli.xval.numbers.figures import figures_of
from polycli.xval.numbers.fixed_point import FixedPoint
from polycli.xval.numbers.text_forms import TextForm, too_many_tokens
from polycli.xval.recipe.model import EncodingName

#: The original's powers of ten, 10^-7 to 10^7.
PUBLISHED_EXPONENTS = (-7, 7)


def make_encoding(name: EncodingName, exponents: tuple[int, int] | None = None) -> Encoding:
    """The encoding of that name.

    `exponents` are the lowest and highest power of ten of text forms and of the digits of fone; the original's if None.

    Raises:
        RecipeError: the form would have more tokens than an embedding should.
    """
    if name == "xval" or name == "multiscale" or name == "bits":  # noqa: PLR1714  # narrows the type
        return Continuous(name)
    chosen = PUBLISHED_EXPONENTS if exponents is None else exponents
    if name == "fone":
        return FixedPoint(chosen)
    if tokens := too_many_tokens(name, chosen):
        raise RecipeError(
            f"{name} has a token for each of 1800 numbers and each power of ten, {tokens} from 1e{chosen[0]} to "
            f"1e{chosen[1]}",
            hint="use p10, p1000 or b1999, which grow by one token for each power of ten, or scale the data",
        )
    return TextForm(name, chosen)


def covering_exponents(values: NDArray[np.float64]) -> tuple[int, int]:
    """The smallest range of powers of ten with all of the finite numbers in it, zeros apart; (0, 0) for none."""
    figures = figures_of(values[np.isfinite(values)])
    decades = figures.decade[figures.mantissa > 0]
    return (int(decades.min()), int(decades.max())) if decades.size else (0, 0)


def encoding_from_json(document: Mapping[str, Any]) -> Encoding:
    """Rebuilds an encoding from what its `to_json` wrote.

    Raises:
        CheckpointError: it is no such document.
    """
    try:
        exponents = document.get("exponents")
        return make_encoding(document["name"], None if exponents is None else (int(exponents[0]), int(exponents[1])))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CheckpointError(f"the encoding of the numbers cannot be read: {error}") from error
