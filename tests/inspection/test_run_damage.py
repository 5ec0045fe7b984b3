"""What stands in a run where a file of its own was, found without reading what never ends."""

import pytest

from polycli.engine.monitor.metrics_lines import read_lines
from polycli.inspection.run_damage import _metrics_damage
from polycli.status.runs import _last_training_line


def test_a_device_in_place_of_the_metrics_is_no_file_to_read(tmp_path):
    """/dev/zero has no end, and no line either."""
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/zero")

    with pytest.raises(OSError, match="a file was expected"):
        next(read_lines(path))
    assert [line.partition(" cannot be read")[0] for line in _metrics_damage(tmp_path, None)] == [f"{path}:"]
    assert _last_training_line(path) == {}
