"""A checkpoint is what its manifest says, or it is refused."""

import hashlib
import json

import pytest

from polycli.checkpoints.manifest import (
    best_checkpoint,
    checkpoint_name,
    damages,
    list_checkpoints,
    publish,
    read_manifest,
    verify,
    write_manifest,
)
from polycli.errors import CheckpointError


def make_checkpoint(run, step, metric=None):
    partial = run / "checkpoints" / f"partial-{step}"
    (partial / "deepspeed").mkdir(parents=True)
    (partial / "model.safetensors").write_bytes(b"weights" * step)
    (partial / "deepspeed" / "rank0.pt").write_bytes(b"state")
    write_manifest(
        partial,
        step=step,
        family="mpp",
        verb="pretrain",
        world_size=2,
        zero_stage=1,
        metric=None if metric is None else ("validation/loss", metric),
    )
    target = run / "checkpoints" / checkpoint_name(step)
    publish(partial, target)
    return target


def test_a_manifest_holds_size_and_hash_of_every_file_below_it(tmp_path):
    manifest = read_manifest(make_checkpoint(tmp_path, 3))
    assert set(manifest.files) == {"model.safetensors", "deepspeed/rank0.pt"}
    assert manifest.files["model.safetensors"].size == 21
    assert manifest.files["model.safetensors"].sha256 == hashlib.sha256(b"weights" * 3).hexdigest()


def test_a_directory_without_manifest_is_no_checkpoint(tmp_path):
    (tmp_path / "checkpoints" / checkpoint_name(1)).mkdir(parents=True)
    assert list_checkpoints(tmp_path) == []
    with pytest.raises(CheckpointError, match=r"no MANIFEST\.json"):
        read_manifest(tmp_path / "checkpoints" / checkpoint_name(1))


def test_checkpoints_are_listed_by_step_and_cut_ones_left_out(tmp_path):
    for step in (11, 2, 7):
        make_checkpoint(tmp_path, step)
    (tmp_path / "checkpoints" / checkpoint_name(7) / "model.safetensors").write_bytes(b"w")
    assert [checkpoint.manifest.step for checkpoint in list_checkpoints(tmp_path)] == [2, 11]


def test_the_best_checkpoint_has_the_lowest_metric_and_a_metric_that_is_not_finite_does_not_count(tmp_path):
    for step, metric in ((1, 0.5), (2, 0.25), (3, None), (4, float("nan")), (5, 0.25)):
        make_checkpoint(tmp_path, step, metric)
    best = best_checkpoint(list_checkpoints(tmp_path))
    assert best is not None
    assert best.manifest.step == 5
    assert read_manifest(tmp_path / "checkpoints" / checkpoint_name(4)).metric is None


def test_without_any_metric_there_is_no_best_checkpoint(tmp_path):
    make_checkpoint(tmp_path, 1)
    assert best_checkpoint(list_checkpoints(tmp_path)) is None


def test_a_flipped_byte_is_found_and_named(tmp_path):
    directory = make_checkpoint(tmp_path, 3)
    verify(directory)
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[4] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    verify(directory, ["deepspeed/rank0.pt"])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        verify(directory)


def test_a_missing_file_is_named(tmp_path):
    directory = make_checkpoint(tmp_path, 3)
    (directory / "deepspeed" / "rank0.pt").unlink()
    with pytest.raises(CheckpointError, match=r"rank0\.pt: listed in MANIFEST\.json and not there"):
        verify(directory)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "deepspeed/../../outside"])
def test_a_manifest_cannot_name_files_outside_its_directory(tmp_path, name):
    directory = make_checkpoint(tmp_path, 3)
    document = json.loads((directory / "MANIFEST.json").read_text())
    document["files"][name] = {"size": 1, "sha256": "0" * 64}
    (directory / "MANIFEST.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="outside the checkpoint"):
        read_manifest(directory)


def test_a_link_that_leaves_the_checkpoint_is_refused(tmp_path):
    directory = make_checkpoint(tmp_path, 3)
    outside = tmp_path / "secret"
    outside.write_bytes((directory / "model.safetensors").read_bytes())
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors").symlink_to(outside)
    with pytest.raises(CheckpointError, match="outside the checkpoint"):
        verify(directory, ["model.safetensors"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "polycli-store"}'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "MANIFEST.json").write_text(text)
    with pytest.raises(CheckpointError, match="not a checkpoint manifest"):
        read_manifest(tmp_path)


def test_a_changed_digit_in_the_manifest_itself_is_found(tmp_path):
    checkpoint = make_checkpoint(tmp_path, 3, metric=0.25)
    manifest = checkpoint / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("0.25", "0.24"))
    with pytest.raises(CheckpointError, match="does not match its own manifest_sha256"):
        read_manifest(checkpoint)


def test_manifests_of_the_first_schema_are_read_without_a_hash_of_themselves(tmp_path):
    checkpoint = make_checkpoint(tmp_path, 3)
    manifest = checkpoint / "MANIFEST.json"
    document = json.loads(manifest.read_text())
    del document["manifest_sha256"]
    manifest.write_text(json.dumps({**document, "schema_version": 1}))
    assert read_manifest(checkpoint).step == 3
    manifest.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="manifest_sha256"):
        read_manifest(checkpoint)


def test_damages_tell_what_is_wrong_with_the_checkpoints_that_are_not_listed(tmp_path):
    cut, changed, _ = (make_checkpoint(tmp_path, step) for step in (1, 2, 3))
    (cut / "model.safetensors").write_bytes(b"weigh")
    (changed / "model.safetensors").write_bytes(b"Weights" * 2)
    (tmp_path / "checkpoints" / checkpoint_name(3)).rename(tmp_path / "checkpoints" / checkpoint_name(4))
    found = damages(tmp_path)
    assert [directory.name for directory in found] == [checkpoint_name(4), checkpoint_name(1)]
    assert "5 bytes, MANIFEST.json says 7" in found[cut]
    assert "holds step 3" in next(iter(found.values()))
    assert "damaged, its sha256" in damages(tmp_path, hashes=True)[changed]
