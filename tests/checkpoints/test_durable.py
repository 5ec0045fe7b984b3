"""What is written is what the safetensors library reads, and what the hash says."""

import errno
import hashlib
import resource

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from polycli.checkpoints.durable import write_tensors, write_text


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8]
)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 4), (2, 3, 7)])
def test_the_library_reads_every_type_and_shape_back(tmp_path, dtype, shape):
    generator = torch.Generator().manual_seed(1)
    tensor = (100 * torch.rand(shape, generator=generator)).to(dtype)
    write_tensors(tmp_path / "a.safetensors", {"x": tensor, "of another width": torch.tensor([True, False, True])})
    found = load_file(tmp_path / "a.safetensors")
    assert found["x"].dtype == dtype
    assert torch.equal(found["x"], tensor)
    assert found["of another width"].tolist() == [True, False, True]


def test_size_and_hash_are_those_of_the_file(tmp_path):
    entry = write_tensors(tmp_path / "deep/er/a.safetensors", {"x": torch.arange(1000.0)})
    content = (tmp_path / "deep/er/a.safetensors").read_bytes()
    assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    text = write_text(tmp_path / "b.json", "{}\n")
    assert (text.size, text.sha256) == (3, hashlib.sha256(b"{}\n").hexdigest())


def test_every_tensor_is_aligned_to_its_elements_and_the_file_says_that_it_is_of_pytorch(tmp_path):
    tensors = {"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(5, dtype=torch.float64), "c": torch.ones(3)}
    write_tensors(tmp_path / "a.safetensors", tensors)
    content = (tmp_path / "a.safetensors").read_bytes()
    assert int.from_bytes(content[:8], "little") % 8 == 0
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert list(file.offset_keys()) == ["b", "c", "a"]


def test_a_file_of_no_tensors_can_be_read(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {})
    assert load_file(tmp_path / "a.safetensors") == {}


def test_a_tensor_whose_memory_is_not_in_order_is_written_in_order(tmp_path):
    tensor = torch.arange(12.0).view(3, 4).T
    write_tensors(tmp_path / "a.safetensors", {"x": tensor})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], tensor)


def test_a_disk_that_takes_only_a_part_is_an_error_that_names_the_file(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.safetensors") as refused:
            write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.errno == errno.EFBIG
    assert (tmp_path / "a.safetensors").stat().st_size == 5000
