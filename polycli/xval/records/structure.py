"""The tokens of structure: brackets and what else holds a record together, and how runs of brackets become one token.

A stream of tokens is built as text with one character for each token, `chr(id)`, because joining and replacing text is
the fastest that Python has; `token_array` makes the array of it.
"""

from __future__ import annotations

import codecs
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Names by id, from 0 on. The first four are what every model of this family has, with the ids of the published one.
STRUCTURE: Final = (
    "[END]",
    "[MASK]",
    "[PAD]",
    "[NUM]",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "null",
    "true",
    "false",
    "literal",
    "text",
    "[[",
    "[[[",
    "]]",
    "]]]",
    "],[",
    "]],[[",
    "]]],[[[",
)
END, MASK, PAD, NUM = range(4)
_IDS = {name: place for place, name in enumerate(STRUCTURE)}
FIRST_BYTE: Final = len(STRUCTURE)
FIRST_KEY: Final = FIRST_BYTE + 256

NUM_CHAR, MASK_CHAR = chr(NUM), chr(MASK)
OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST = (chr(_IDS[name]) for name in "{}[]")
COMMA, COLON, QUOTE = (chr(_IDS[name]) for name in ',:"')
NULL, TRUE, FALSE = (chr(_IDS[name]) for name in ("null", "true", "false"))
#: Stands before and after a number that is kept as text, and before and after text whose numbers are numbers.
LITERAL, TEXT = (chr(_IDS[name]) for name in ("literal", "text"))

#: By merged token: the plain tokens that it stands for. Longest first, which is the order of replacing.
_MERGED = {
    chr(_IDS[name]): "".join(chr(_IDS[part]) for part in name)
    for name in ("]]],[[[", "]],[[", "],[", "[[[", "]]]", "[[", "]]")
}
_BYTES = "".join(chr(FIRST_BYTE + byte) for byte in range(256))


def merge_brackets(stream: str) -> str:
    """Runs of brackets as one token each, as the paper's tokenizer has them; `split_brackets` takes it back."""
    for merged, plain in _MERGED.items():
        if plain in stream:
            stream = stream.replace(plain, merged)
    return stream


_SPLIT = str.maketrans(_MERGED)


def split_brackets(stream: str) -> str:
    """One token for every bracket and comma."""
    return stream.translate(_SPLIT)


def spelled(text: str) -> str:
    """The UTF-8 bytes of a text as tokens, one each; lone surrogates, which JSON allows, pass."""
    return codecs.charmap_decode(text.encode("utf-8", "surrogatepass"), "strict", _BYTES)[0]


def unspelled(stream: str) -> str:
    """The text of byte tokens.

    Raises:
        ValueError: they are no byte tokens, or no UTF-8.
    """
    return bytes(ord(token) - FIRST_BYTE for token in stream).decode("utf-8", "surrogatepass")


def token_array(stream: str) -> NDArray[np.int32]:
    """The ids of a stream, one for each character."""
    return np.frombuffer(stream.encode("utf-32-le", "surrogatepass"), dtype="<i4").astype(np.int32, copy=False)


def token_text(ids: NDArray[np.int32]) -> str:
    """Renders token ids as text, one character a token."""
    return ids.astype("<i4").tobytes().decode("utf-32-le", "surrogatepass")
