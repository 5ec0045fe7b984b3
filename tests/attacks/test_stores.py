"""Stores of any manifest, metadata and chunks; embeddings likewise."""

import json
import os
import shutil

from mutations import as_json, damaged, forged
from test_weights import damage_a_file, numbers

from polycli.store.hashing import canonical_hash
from polycli.store.manifest import CHECKSUM_KEY

FAMILIES = ("mpp", "xval", "astroclip")


def read_somehow(kind, family, arena, rng, how, right=None):
    """Hand a store to one of the commands that read it."""
    run = ("--checkpoint", arena / f"{family}-run")
    recipe = {"mpp": "mpp_demo", "xval": "xval_demo", "astroclip": "astroclip_demo_spectrum"}[family]
    evaluation = ("eval", family, *run, "--data", "store.zarr", "--output", "out", "--json")
    lines = [
        ("inspect", "store.zarr"),
        ("inspect", "store.zarr", "--verify", "--json"),
        ("pretrain", family, "--recipe", recipe, "--data", "store.zarr", "--output", "out", "--dry-run"),
        ("embed", family, *run, "--data", "store.zarr", "--output", "out/vectors.parquet"),
        ("predict", family, *run, "--data", "store.zarr", "--split", "test", "--output", "out/predicted.zarr"),
        evaluation,
        (*evaluation, "--set", "report=false"),
    ]
    if family == "mpp":
        lines = [line for line in lines if line[0] != "embed"]
    line = rng.choice(lines)
    kind.polycli(*line, how=how, seconds=60, right=right if line[0] == "eval" else None)


def test_damaged_stores(attack, arena):
    kind = attack("stores, damaged")
    scores = {}
    for rng in kind.rounds(120):
        family = rng.choice(FAMILIES)
        if family not in scores:
            line = (
                "eval",
                family,
                "--checkpoint",
                f"{family}-run",
                "--data",
                f"{family}.zarr",
                "--output",
                kind.folder,
            )
            whole = kind.worker.polycli(*line, "--json", "--set", "report=false", folder=arena)
            scores[family] = list(numbers(whole.document).values())
            shutil.rmtree(kind.folder)
            kind.folder.mkdir()
        shutil.copytree(arena / f"{family}.zarr", kind.folder / "store.zarr")
        how = damage_a_file(kind.folder / "store.zarr", rng)

        def right(answer, expected=scores[family]):
            return (
                None if list(numbers(answer.document).values()) == expected else "other scores than the whole store's"
            )

        read_somehow(kind, family, arena, rng, how, right)
    kind.assert_right()


def test_forged_stores(attack, arena):
    """As somebody writes them who also mends the checksum."""
    kind = attack("stores, forged")
    for rng in kind.rounds(160):
        family = rng.choice(FAMILIES)
        store = kind.folder / "store.zarr"
        shutil.copytree(arena / f"{family}.zarr", store)
        document = json.loads((store / "MANIFEST.json").read_text())
        document.pop(CHECKSUM_KEY)
        if rng.random() < 0.3:
            # With metadata of an array that say the same.
            how = forge_metadata(store, document, rng)
        else:
            document = forged(document, rng)
            how = ""
        (store / "MANIFEST.json").write_bytes(signed(document, rng))
        read_somehow(kind, family, arena, rng, how + repr((store / "MANIFEST.json").read_bytes()[:500]))
    kind.assert_right()


def signed(document, rng):
    """A manifest with the checksum of whatever is in it, as far as there is one."""
    text = as_json(document, rng)
    try:
        plain = json.loads(text)
        checksum = canonical_hash(plain)
    except (ValueError, RecursionError):
        return text
    return json.dumps({**plain, CHECKSUM_KEY: checksum} if isinstance(plain, dict) else plain).encode()


def forge_metadata(store, document, rng):
    """Change zarr.json of an array, and what the manifest says of that file."""
    name = rng.choice(sorted(document["arrays"]))
    file = store / name / "zarr.json"
    content = as_json(forged(json.loads(file.read_text()), rng), rng)
    file.write_bytes(content)
    import hashlib

    document["files"][f"{name}/zarr.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if rng.random() < 0.5:
        info = document["arrays"][name]
        info["shape"] = [rng.choice((length, 10**9, 2**40, 0)) for length in info["shape"]]
        metadata = readable(content)
        if metadata:
            metadata["shape"] = info["shape"]
            text = json.dumps(metadata).encode()
            file.write_bytes(text)
            document["files"][f"{name}/zarr.json"] = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return f"{name}/zarr.json {content[:200]!r} "


def readable(content):
    """The document as far as Python reads it, empty otherwise."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def test_special_files_in_stores_and_runs(attack, arena):
    kind = attack("pipes and links")
    for rng in kind.rounds(60):
        family = rng.choice(FAMILIES)
        of_run = rng.random() < 0.5
        folder = kind.folder / ("run" if of_run else "store.zarr")
        shutil.copytree(arena / (f"{family}-run" if of_run else f"{family}.zarr"), folder)
        file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        file.unlink()
        what = rng.choice(("pipe", "loop", "elsewhere", "device", "folder"))
        if what == "pipe":
            os.mkfifo(file)
        elif what == "folder":
            file.mkdir()
        else:
            file.symlink_to({"loop": file, "elsewhere": "/etc/passwd", "device": "/dev/zero"}[what])
        how = f"{file.relative_to(folder)} is a {what}"
        if of_run:
            data = ("--data", arena / f"{family}.zarr", "--output", "out", "--set", "report=false")
            lines = [("inspect", "run"), ("inspect", "run", "--verify"), ("eval", family, "--checkpoint", "run", *data)]
            kind.polycli(*rng.choice(lines), how=how, seconds=60)
        else:
            read_somehow(kind, family, arena, rng, how)
    kind.assert_right()


def test_embeddings(attack, arena):
    kind = attack("embeddings")
    for rng in kind.rounds(120):
        name = rng.choice(("vectors", "vectors.parquet", "vectors.zarr"))
        source = arena / name
        if source.is_dir():
            shutil.copytree(source, kind.folder / name)
            how = damage_a_file(kind.folder / name, rng)
        else:
            content = damaged(source.read_bytes(), rng)
            (kind.folder / name).write_bytes(content)
            shutil.copy(arena / "vectors.numbers.parquet", kind.folder)
            how = repr(content[:200])
        kind.polycli("inspect", name, *rng.choice(((), ("--verify",), ("--json",))), how=how)
    kind.assert_right()
