"""Names of files that are no names, for every option that takes one, and files that are none."""

import json
import os
import shutil
from pathlib import Path

from polycli.store.hashing import canonical_hash
from polycli.store.manifest import CHECKSUM_KEY

STRANGE_PATHS = (
    *("", " ", "x" * 300, "x/" * 3000, "~nobody/x", "loop", "pipe", "/dev/zero", "/dev/stdin", "a\x1b[2Jb", "folder"),
    *(
        "empty",
        "unreadable-\udcff",
        "-",
        "--",
        "@loop",
        "@pipe",
        "@/dev/zero",
        "*[",
        "a\nb",
        "%s",
        "$HOME",
        "/nowhere/x",
    ),
)
STRANGE_NAMES = (
    *("[red]x[/red]", "$x_{$", "=1+1", "a b", "é", "%s %d {0}", "<b>x</b>", "x" * 120, "#", "~", "-x", "a.b", "CON"),
    *("\\", "../x", "/x"),
)


def test_paths(attack, arena):
    kind = attack("paths")
    for rng in kind.rounds(250):
        (kind.folder / "loop").symlink_to("loop")
        os.mkfifo(kind.folder / "pipe")
        (kind.folder / "folder").mkdir()
        (kind.folder / "empty").touch()
        Path(os.fsdecode(os.fsencode(kind.folder) + b"/unreadable-\xff")).touch()
        family = rng.choice(("mpp", "xval", "astroclip"))
        run, store = arena / f"{family}-run", arena / f"{family}.zarr"
        source, recipe = rng.choice(
            {
                "mpp": [("pdebench", "mpp_demo")],
                "xval": [
                    ("table", "xval_demo"),
                    ("text", "xval_demo"),
                    ("json", "xval_demo"),
                    ("temperature", "xval_demo"),
                ],
                "astroclip": [("desi", "astroclip_demo_spectrum"), ("arrays", "astroclip_demo_spectrum")],
            }[family]
        )
        path = rng.choice(STRANGE_PATHS)
        lines = [
            ("inspect", path),
            ("recipes", "check", path),
            ("prepare", family, "--source", source, "--input", path, "--output", "out/x", "--workers", 1),
            ("pretrain", family, "--recipe", path, "--data", store, "--output", "out", "--dry-run"),
            ("pretrain", family, "--recipe", recipe, "--data", path, "--output", "out", "--dry-run"),
            ("eval", family, "--checkpoint", path, "--data", store, "--output", "out"),
            ("eval", family, "--checkpoint", run, "--data", path, "--output", "out"),
            ("predict", family, "--checkpoint", run, "--data", path, "--output", "out/x.parquet"),
            ("predict", family, "--checkpoint", path, "--data", store, "--output", "out/x.parquet"),
            ("export", path, "--output", "out/x.safetensors"),
        ]
        kind.polycli(*[str(word).replace("\0", "") for word in rng.choice(lines)], how=repr(path)[:80], seconds=60)
    kind.assert_right()


def test_names_of_stores_are_data(attack, arena):
    """Names that pass for names and yet are markup, formulas or escapes somewhere: shown, drawn and written."""
    kind = attack("names of stores")
    for rng in kind.rounds(60):
        family = rng.choice(("mpp", "xval", "astroclip"))
        store = kind.folder / "store.zarr"
        shutil.copytree(arena / f"{family}.zarr", store)
        document = json.loads((store / "MANIFEST.json").read_text())
        document.pop(CHECKSUM_KEY)
        document["name"] = rng.choice(STRANGE_NAMES)
        fields = document["about"].get("fields") or document["about"].get("properties")
        if isinstance(fields, list) and fields and rng.random() < 0.3:
            document["about"]["units"] = [rng.choice(STRANGE_NAMES)] * len(document["about"].get("units", ()))
        (store / "MANIFEST.json").write_text(json.dumps({**document, CHECKSUM_KEY: canonical_hash(document)}))
        line = ("--checkpoint", arena / f"{family}-run", "--data", "store.zarr", "--output", "out", "--allow-overlap")
        kind.polycli("eval", family, *line, how=document["name"], seconds=120)
    kind.assert_right()
