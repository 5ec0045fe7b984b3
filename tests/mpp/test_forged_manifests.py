"""What a forged manifest says of its physics and its numbers ends in a sentence."""

import pytest

from polycli.errors import StoreError
from polycli.mpp.data.about import physics_of, statistics_of
from polycli.store.reader import open_store


@pytest.fixture
def manifest(store_factory):
    return open_store(store_factory("swe", physics="shallow_water", splits=["train", "test"])).manifest


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("fields", 3, "not sound"),
        ("dt", "soon", "not sound"),
        ("fields", ["a.b", "a.c", "a.d"], "of 3 fields in 1 units"),
        ("grid", [16, 2**40], "was expected"),
    ],
)
def test_its_physics_fits_its_schema_and_its_arrays(manifest, tmp_path, key, value, reason):
    forged = manifest.model_copy(update={"about": {**manifest.about, key: value}})
    with pytest.raises(StoreError, match=reason):
        physics_of(forged, tmp_path)
    assert physics_of(manifest, tmp_path).grid == (16, 16)


def test_its_statistics_are_whole(manifest, tmp_path):
    forged = manifest.model_copy(update={"statistics": {"fields": {"shallow_water.height": {"mean": 1.0}}}})
    with pytest.raises(StoreError, match="lack std, rms"):
        statistics_of(forged, tmp_path)
    assert "shallow_water.height" in statistics_of(manifest, tmp_path)
