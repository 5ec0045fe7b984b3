"""Encodings of numbers for the model: one continuous token, or one of the paper's four text forms."""

from polycli.xval.numbers.base import Encoding
from polycli.xval.numbers.choice import covering_exponents, encoding_from_json, make_encoding
from polycli.xval.numbers.expansion import Expanded, expand, token_names

__all__ = [
    "Encoding",
    "Expanded",
    "covering_exponents",
    "encoding_from_json",
    "expand",
    "make_encoding",
    "token_names",
]
