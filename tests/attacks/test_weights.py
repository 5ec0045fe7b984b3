"""Weights of any content: safetensors, PyTorch files of both forms, TorchScript programs, and what describes them."""

import io
import json
import pickle
import random
import shutil
import struct
import zipfile

import pytest
import torch
from mutations import STRANGE, as_json, damaged, forged, safetensors
from safetensors.torch import load_file

FAMILIES = ("mpp", "xval", "astroclip")


def weights_of(arena, family):
    """The newest checkpoint of a family's run."""
    return max((arena / f"{family}-run" / "checkpoints").glob("step-*"))


def read_somehow(kind, family, arena, file, rng, how):
    """Hand a file of weights to one of the commands that read them."""
    data = ("--data", arena / f"{family}.zarr")
    lines = [
        ("inspect", file),
        ("inspect", file, "--verify", "--json"),
        ("eval", family, "--checkpoint", file, *data, "--output", "out", "--set", "report=false"),
        (
            "finetune",
            family,
            "--recipe",
            f"{family}_finetune",
            "--checkpoint",
            file,
            *data,
            "--output",
            "out",
            "--dry-run",
        ),
    ]
    if family == "astroclip":
        align = ("pretrain", family, "--recipe", "astroclip_demo_align", *data, "--output", "out", "--dry-run")
        lines.append((*align, "--set", f"init.spectrum={file}", "--set", f"init.image={file}"))
    kind.polycli(*rng.choice(lines), how=how, seconds=60)


def header_and_data(content):
    """A safetensors file in two."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_safetensors(attack, arena):
    kind = attack("safetensors")
    for rng in kind.rounds(120):
        family = rng.choice(FAMILIES)
        checkpoint = weights_of(arena, family)
        content = (checkpoint / "model.safetensors").read_bytes()
        header, data = header_and_data(content)
        place = rng.random()
        if place < 0.3:
            content = damaged(content[:2000], rng) + content[2000:]
        elif place < 0.9:
            content = safetensors(as_json(forged(header, rng), rng), data)
        else:
            content = safetensors(rng.choice((b"", b"{}", b"[]", b"null", b"[" * 10**5, rng.randbytes(200))), data)
        name = rng.choice(("model.safetensors", "weights.pt", "last.ckpt"))
        (kind.folder / name).write_bytes(content)
        if rng.random() < 0.7:
            shutil.copy(checkpoint / "model.json", (kind.folder / name).with_suffix(".json"))
        read_somehow(kind, family, arena, name, rng, repr(content[:300]))
    kind.assert_right()


def test_descriptions(attack, arena):
    kind = attack("model.json")
    for rng in kind.rounds(120):
        family = rng.choice(FAMILIES)
        checkpoint = weights_of(arena, family)
        document = json.loads((checkpoint / "model.json").read_text())
        if rng.random() < 0.5:
            shutil.copy(checkpoint / "model.safetensors", kind.folder)
            text = as_json(forged(document, rng), rng)
            (kind.folder / "model.json").write_bytes(damaged(text, rng) if rng.random() < 0.2 else text)
        else:
            # The weights say the same themselves, so that both have to be forged.
            header, data = header_and_data((checkpoint / "model.safetensors").read_bytes())
            text = as_json(forged(document, rng), rng)
            header["__metadata__"]["polycli"] = text.decode("utf-8", "replace")
            (kind.folder / "model.safetensors").write_bytes(safetensors(json.dumps(header).encode(), data))
        read_somehow(kind, family, arena, "model.safetensors", rng, repr(text[:600]))
    kind.assert_right()


class Ask:
    """Would have `function(*arguments)` called where it is unpickled."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def strange_content(tensors, rng, folder):
    """What a file of weights may hold beside weights, or in their place."""
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
    )
    shape = rng.choice(((10**5, 10**5), (10**10,), (2**62,), (-5,), (0,), (2, 2)))
    stride = rng.choice(((1, 1)[: len(shape)], (0, 0)[: len(shape)], (2**60, 1)[: len(shape)], (-1, 1)[: len(shape)]))
    rebuilt = Ask(torch._utils._rebuild_tensor_v2, storage, rng.choice((0, 2**60, -1)), shape, stride, False, {})
    import os
    import subprocess

    name = rng.choice([*tensors, "extra"])
    changed = rng.choice(
        (
            {**tensors, name: rebuilt},
            {**tensors, "extra": Ask(os.system, f"touch {folder}/mark")},
            {**tensors, "extra": Ask(subprocess.Popen, ["touch", f"{folder}/mark"])},
            {**tensors, "extra": Ask(eval, f"open('{folder}/mark', 'w')")},
            {**tensors, "extra": Ask(bytearray, 10**11)},
            {**tensors, name: rng.choice(STRANGE)},
            {key: value for key, value in tensors.items() if key != name},
            {**tensors, name: tensors.get(name, torch.zeros(3)).reshape(-1)[:1].expand(10**9)},
            {**tensors, name: torch.full_like(tensors.get(name, torch.zeros(3)), float("nan"))},
            {
                **tensors,
                name: tensors.get(name, torch.zeros(3)).to(rng.choice((torch.float16, torch.int64, torch.complex64))),
            },
            {**tensors, "../x\x1b[2J": torch.zeros(1)},
            [tensors],
            {"model": {"model": {"model": {"model": {"model": {"model": tensors}}}}}},
        )
    )
    return rng.choice(
        (
            changed,
            {"state_dict": changed},
            {"state_dict": changed, "hyper_parameters": {"num_heads": rng.choice(STRANGE)}},
        )
    )


def programs(rng):
    """Pickles that nobody's pickler writes."""
    length = rng.choice((0, 5, 2**31 - 1, 2**32 - 1))
    return rng.choice(
        (
            b"\x80\x02r" + struct.pack("<I", length) + b".",
            b"\x80\x02X" + struct.pack("<I", length) + b"a.",
            b"\x80\x04\x95" + struct.pack("<Q", length) + b"N.",
            b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".",
            b"\x80\x05\x96" + struct.pack("<Q", 10**11) + b".",
            b"\x80\x02" + b"(" * 100_000 + b".",
            b"\x80\x02" + b"]" + b"q\x00h\x00a" * 1000 + b".",
            b"\x80\x02cos\nsystem\nU\x04truetR.",
            b"\x80\x02\x8b\xff\xff\xff\x7f.",
            pickle.dumps({"a": [1] * 100}, protocol=rng.randrange(6)),
            rng.randbytes(100),
        )
    )


def test_pytorch_files(attack, arena):
    kind = attack("PyTorch files")
    for rng in kind.rounds(150):
        family = rng.choice(FAMILIES)
        tensors = dict(load_file(weights_of(arena, family) / "model.safetensors"))
        file = kind.folder / rng.choice(("a.pt", "a.ckpt", "a.tar", "model.safetensors"))
        zipped = rng.random() < 0.7
        if rng.random() < 0.65:
            torch.save(strange_content(tensors, rng, kind.folder), file, _use_new_zipfile_serialization=zipped)
        else:
            torch.save(tensors, file, _use_new_zipfile_serialization=zipped)
            content = file.read_bytes()
            file.write_bytes(
                repacked(content, rng)
                if zipped and rng.random() < 0.6
                else damaged(content[:3000], rng) + content[3000:]
            )
        if rng.random() < 0.1:
            file.write_bytes(programs(rng))
        read_somehow(kind, family, arena, file.name, rng, repr(file.read_bytes()[:200]))
    kind.assert_right()


def repacked(content, rng):
    """The archive with a member of another content, packed, twice, gone, or with a name that leads elsewhere."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(packed, "w") as archive:
        names = whole.namelist()
        chosen = rng.choice([name for name in names if rng.random() < 0.5 or name.endswith("data.pkl")] or names)
        for name in names:
            data, target, how = whole.read(name), name, zipfile.ZIP_STORED
            if name == chosen:
                fault = rng.randrange(6)
                data = (
                    damaged(data, rng)
                    if fault == 0
                    else programs(rng)
                    if fault == 1
                    else bytes(10**8)
                    if fault == 2
                    else data
                )
                how = zipfile.ZIP_DEFLATED if fault in {2, 3} else how
                target = rng.choice(("../x", "/nowhere", "a/constants.pkl", "a/code/x.py")) if fault == 4 else name
                if fault == 5:
                    continue
            archive.writestr(target, data, how)
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
def test_programs_do_not_run(attack, arena, torchscript_archive, tmp_path):
    kind = attack("TorchScript")
    archive, mark = torchscript_archive(tmp_path / "program")
    for rng in kind.rounds(40):
        file = kind.folder / rng.choice(("a.pt", "a.ckpt", "model.safetensors", "a", "last.tar"))
        shutil.copy(archive, file)
        read_somehow(kind, rng.choice(FAMILIES), arena, file.name, rng, "")
        assert not mark.exists(), "the program ran"
    kind.assert_right()


def test_runs(attack, arena):
    kind = attack("runs")
    scores = {}
    for rng in kind.rounds(120):
        family = rng.choice(FAMILIES)
        run = kind.folder / "run"
        shutil.copytree(arena / f"{family}-run", run)
        how = damage_a_file(run, rng)
        evaluation = ("eval", family, "--checkpoint", "run", "--data", arena / f"{family}.zarr", "--output", "out")
        evaluation = (*evaluation, "--set", "report=false", "--json")
        if family not in scores:
            whole = kind.worker.polycli(
                "eval", family, "--checkpoint", arena / f"{family}-run", *evaluation[4:], folder=arena
            )
            scores[family] = numbers(whole.document)
        if rng.random() < 0.5:
            kind.polycli(
                *evaluation, how=how, seconds=60, right=lambda answer, family=family: same(answer, scores[family])
            )
        else:
            kind.polycli("inspect", "run", *rng.choice(((), ("--verify",), ("--json",))), how=how, seconds=60)
    kind.assert_right()


def numbers(document):
    """What an evaluation found."""
    return document["datasets"]


def same(answer, expected):
    """A damaged run gives the scores of the whole one, or none."""
    return None if numbers(answer.document) == expected else "other scores than those of the whole run"


def damage_a_file(folder, rng: random.Random):
    """Damage or forge one file of a run or a store; says what."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    documents = [path for path in files if path.suffix in {".json", ".jsonl", ".yaml"}]
    file = rng.choice(documents if rng.random() < 0.7 else files)
    fault = rng.random()
    if fault < 0.1:
        file.unlink()
        how = "gone"
    elif fault < 0.4 and file.suffix == ".json":
        content = as_json(forged(json.loads(file.read_text()), rng), rng)
        file.write_bytes(content)
        how = repr(content[:400])
    else:
        content = damaged(file.read_bytes(), rng)
        file.write_bytes(content)
        how = repr(content[:200])
    return f"{file.relative_to(folder)}: {how}"
