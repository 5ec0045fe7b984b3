"""Source files of any content, for every source of every family."""

import json
import shutil

import h5py
import numpy as np
import pytest
from mutations import STRANGE, damaged, flipped
from source_files import write_sources


@pytest.fixture(scope="session")
def sound(tmp_path_factory, pdebench):
    """By name: a sound file, and the words of the line that prepares it."""
    return write_sources(tmp_path_factory.mktemp("sources"), pdebench)


def prepare(kind, line, name, **options):
    """The line that prepares one file."""
    family, source, *rest = line
    return kind.polycli(
        "prepare",
        family,
        "--source",
        source,
        "--input",
        name,
        "--output",
        "out/x.zarr",
        "--workers",
        1,
        *rest,
        **options,
    )


def test_sound_files_are_prepared(attack, sound):
    kind = attack("sources, whole")
    kind.share = 1
    for _ in kind.rounds(1):
        for name, (path, line) in sound.items():
            answer = prepare(kind, line, path)
            assert answer.code == 0, f"{name}: {answer.stderr}"
            shutil.rmtree(kind.folder / "out")
    kind.assert_right()


def test_damaged_files(attack, sound):
    kind = attack("sources, damaged")
    for rng in kind.rounds(400):
        name = rng.choice(sorted(sound))
        path, line = sound[name]
        if path.is_dir():
            shutil.copytree(path, kind.folder / name)
            file = rng.choice(sorted(path for path in (kind.folder / name).rglob("*") if path.is_file()))
        else:
            file = kind.folder / name
            shutil.copy(path, file)
        whole = file.read_bytes()
        content = damaged(whole, rng) if rng.random() < 0.6 else damaged(whole[:4096], rng) + whole[4096:]
        file.write_bytes(content)
        if rng.random() < 0.15:
            kind.polycli("inspect", file.relative_to(kind.folder), how=repr(content[:200]))
        else:
            prepare(kind, line, name, how=difference(whole, content))
    kind.assert_right()


def difference(whole, content):
    """Where a damaged file begins to differ, and how."""
    place = next(
        (place for place, (one, other) in enumerate(zip(whole, content, strict=False)) if one != other), len(content)
    )
    return f"at {place} of {len(whole)}, now {len(content)} bytes: {content[max(0, place - 20) : place + 60]!r}"


def test_flipped_bits_of_a_coadd_are_found(attack, sound, worker, tmp_path):
    """What is accepted gives the same store, but for its fingerprint and the hash of the source file."""
    kind = attack("DESI, one bit")
    path, line = sound["coadd-a.fits"]
    whole = path.read_bytes()

    def content_of(store):
        manifest = json.loads((store / "MANIFEST.json").read_text())
        return {
            name: entry["sha256"]
            for name, entry in manifest["files"].items()
            if name.split("/")[0] in {"spectrum", "ivar", "mask"}
        }

    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "coadd-a.fits").write_bytes(whole)
    words = ["--input", "coadd-a.fits", "--output", "x.zarr", "--workers", "1"]
    answer = worker.polycli("prepare", line[0], "--source", line[1], *words, folder=tmp_path / "sound")
    assert answer.code == 0, answer.stderr
    expected = content_of(tmp_path / "sound" / "x.zarr")
    for rng in kind.rounds(40):
        content = flipped(whole, rng)
        (kind.folder / "coadd-a.fits").write_bytes(content)

        def right(answer, folder=kind.folder):
            return None if content_of(folder / "out" / "x.zarr") == expected else "other spectra were accepted"

        prepare(kind, line, "coadd-a.fits", right=right, how=difference(whole, content))
    kind.assert_right()


def nested(depth):
    """JSON in JSON."""
    return "[" * depth + "]" * depth


def test_texts_that_cost_more_than_they_hold(attack):
    kind = attack("sources, costly texts")
    for rng in kind.rounds(60):
        unit = rng.choice(
            (
                "." * 10,
                "1,",
                "a-",
                "((",
                "[[",
                "{'a':",
                '"\\',
                "9" * 10,
                "1e",
                "-",
                "'",
                '"',
                ",",
                "\t",
                "\\ud800",
                "\0",
            )
        )
        content = (
            rng.choice(("", "a,b\n", "[", '{"a": "', "x: "))
            + unit * (300_000 // len(unit))
            + rng.choice(("", "]", "\n", '"}', "5"))
        )
        name, source = rng.choice(
            (("a.csv", "table"), ("a.jsonl", "json"), ("a.json", "json"), ("a.txt", "text"), ("a.txt", "python-lines"))
        )
        (kind.folder / name).write_text(content)
        prepare(kind, ["xval", source], name, seconds=60, how=f"{content[:60]!r} ... {len(content)}")
    kind.assert_right()


def test_tables_of_strange_cells(attack):
    kind = attack("sources, strange cells")
    cells = [str(value) for value in STRANGE if not isinstance(value, dict | list)]
    cells += [
        "9" * 5000,
        "1e400",
        "1,500",
        "5 kg",
        "<3",
        "1 ± 2",
        "=1+1",
        "1 m^99999",
        "nan",
        "-",
        "1e-400",
        "0x10",
        '"',
    ]
    for rng in kind.rounds(80):
        columns = rng.randrange(1, 6)
        header = [
            rng.choice(("a", "b (kg)", "c [m]", "", "1", "$", "\x1b[2J", "=x", "a.b", "x" * 500))
            for _ in range(columns)
        ]
        rows = [
            [rng.choice(cells).replace(",", ";").replace("\0", "") for _ in range(columns)]
            for _ in range(rng.randrange(1, 30))
        ]
        lines = [header, *rows]
        (kind.folder / "a.csv").write_text("\n".join(",".join(line) for line in lines), errors="backslashreplace")
        prepare(kind, ["xval", "table"], "a.csv", how=repr(lines[:3])[:400])
    kind.assert_right()


def test_hdf5_files_that_nobody_writes(attack, sound):
    kind = attack("sources, forged HDF5")
    names = [name for name in sound if name.endswith((".h5", ".nc", ".hdf5")) and name != "classic.nc"]

    def huge(file, name, rng):
        file.create_dataset(name, shape=rng.choice(((10**12,), (10**6, 10**6), (10**4,) * 3)), dtype="f4", chunks=True)

    def forge(file, rng):
        names = []
        file.visit(names.append)
        if not names:
            return
        name = rng.choice(names)
        fault = rng.randrange(10)
        attributes = {"config": "a: &a [*a, *a]", "units": "hours since 9999-99-99", "M": np.zeros(0), "x": "\x1b[2J"}
        if fault == 9:
            key = rng.choice(list(attributes))
            file.attrs[key] = attributes[key]
            return
        del file[name]
        if fault == 0:
            file[name] = h5py.SoftLink(f"/{name}")
        elif fault == 1:
            file[name] = h5py.ExternalLink("/etc/passwd", "/")
        elif fault == 2:
            huge(file, name, rng)
        elif fault == 3:
            file[name] = np.array([b"text", b"x"])
        elif fault == 4:
            file[name] = h5py.Empty("f4")
        elif fault == 5:
            file[name] = np.full((3, 2), rng.choice((np.nan, np.inf, 1e300)))
        elif fault == 6:
            file.create_dataset(name, shape=(10,), dtype="f8", external=[("/etc/passwd", 0, 80)])
        elif fault == 7:
            file[name] = np.zeros(3, [("a", "f4"), ("b", "i8")])
        else:
            file[name] = file["/"]

    for rng in kind.rounds(150):
        name = rng.choice(names)
        path, line = sound[name]
        shutil.copy(path, kind.folder / name)
        with h5py.File(kind.folder / name, "a") as file:
            for _ in range(rng.choice((1, 1, 2))):
                forge(file, rng)
        if rng.random() < 0.2:
            kind.polycli("inspect", name)
        else:
            prepare(kind, line, name, seconds=60)
    kind.assert_right()
