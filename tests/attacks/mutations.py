"""Ways to damage or forge what a command reads: bytes, JSON, recipes; one generator makes all choices."""

import json
import random
import struct

#: What no honest writer writes: too large, too long, of another kind, or meant to do something where it is shown.
STRANGE = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63 - 1,
    2**63,
    10**18,
    10**40,
    -(10**18),
    1e-300,
    1e300,
    0.5,
    "",
    " ",
    ".",
    "..",
    "../x",
    "/nowhere/x",
    "a/../../b",
    "x" * 300,
    "x" * 70_000,
    "\x1b[2J\x1b]0;title\x07",
    "[red]bold[/red]",
    "$x_{$",
    "=1+1",
    "a\nerror: forged",
    "\0",
    "é\u202e",
    [],
    {},
    [0],
    [[]],
    {"": {}},
    {"a": [1, "b", None]},
    [10**9] * 4,
    [-1, 0, 2**40],
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three faults, as disks, transfers and people make them."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_BYTE_FAULTS)(data, rng)
    return data


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _longer(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 100))


def _without_middle(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randrange(1, 200) :]


def _twice(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    stop = start + rng.randrange(1, 500)
    return data[:stop] + data[start:stop] + data[stop:]


def _zeros(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data) + 1), rng.randrange(1, 300)
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def _noise(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data) + 1), rng.randrange(1, 60)
    return data[:start] + rng.randbytes(length) + data[start + length :]


def _number(data: bytes, rng: random.Random) -> bytes:
    """A length or an offset becomes one that means something to whoever trusts it."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1))
    start = rng.randrange(len(data) + 1)
    return data[:start] + value.to_bytes(size, rng.choice(("little", "big"))) + data[start + size :]


def _digit(data: bytes, rng: random.Random) -> bytes:
    """A digit of a text becomes many."""
    places = [place for place, byte in enumerate(data[:20_000]) if 48 <= byte < 58]
    if not places:
        return flipped(data, rng)
    place = rng.choice(places)
    return (
        data[:place] + rng.choice((b"-1", b"9" * 30, b"9" * 5000, b"1e400", b"nan", b"0x10", b"")) + data[place + 1 :]
    )


_BYTE_FAULTS = (flipped, flipped, _cut, _longer, _without_middle, _twice, _zeros, _noise, _number, _digit)


def forged(document: object, rng: random.Random) -> object:
    """A JSON document with one to three values of another kind, keys gone or keys more."""
    copy = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(copy))
        if not places:
            return rng.choice(STRANGE)
        holder, key = rng.choice(places)
        fault = rng.randrange(8)
        if fault == 0:
            del holder[key]
        elif fault == 1 and isinstance(holder, dict):
            holder[rng.choice(("extra", "", "../x", "\x1b[2J", "x" * 300))] = rng.choice(STRANGE)
        elif fault == 2:
            holder[key] = _nested(rng.choice((10, 150, 3000)))
        elif fault == 3 and isinstance(holder[key], int | float):
            holder[key] = rng.choice((-holder[key], holder[key] * 10**9, holder[key] + 1, float(holder[key]) / 3))
        else:
            holder[key] = rng.choice(STRANGE)
    return copy


def as_json(document: object, rng: random.Random) -> bytes:
    """Its text, now and then with what JSON does not allow; deeper than Python's own writer goes."""
    text = _written(document)
    if rng.random() < 0.1:
        text = text.replace("null", rng.choice(("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000)))
    return text.encode("utf-8", "surrogatepass")


def _written(value: object) -> str:
    if isinstance(value, _Nested):
        return "[" * value.depth + "]" * value.depth
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)


class _Nested:
    """Lists in lists, too deep for Python's JSON to write."""

    def __init__(self, depth: int) -> None:
        self.depth = depth


def _nested(depth: int) -> object:
    return _Nested(depth)


def _places(document: object) -> list[tuple[dict | list, object]]:
    """Every holder and key in a document; of long lists the beginning alone, so that other places have their turn."""
    found, waiting = [], [document]
    while waiting:
        holder = waiting.pop()
        items = (
            holder.items() if isinstance(holder, dict) else enumerate(holder[:8]) if isinstance(holder, list) else ()
        )
        for key, value in items:
            found.append((holder, key))
            waiting.append(value)
    return found


def safetensors(header: bytes, data: bytes) -> bytes:
    """A safetensors file of any header."""
    return struct.pack("<Q", len(header)) + header + data
