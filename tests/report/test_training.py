"""Curves of the training in a report."""

from polycli.report.html import Figure
from polycli.report.training import TrainingLine, training_blocks


def test_loss_and_speed_are_drawn_and_medians_are_said(tmp_path):
    lines = [
        TrainingLine(step=step, loss=1.0 / step, samples_per_second=rate, step_seconds=0.5, data_wait_share=0.02)
        for step, rate in ((1, 10.0), (2, 30.0), (3, 20.0))
    ]
    lines.append(TrainingLine(step=2, loss=0.4, validation=True))
    blocks = training_blocks(lines, tmp_path, scored=3)
    (figure,) = [block for block in blocks if isinstance(block, Figure)]
    assert figure.file.is_file()
    assert "those of step 3" in figure.caption
    assert "20.0 samples per second, 0.500 s for a step, 2.00 % of it waiting for data" in figure.caption


def test_a_run_that_measured_nothing_has_no_section(tmp_path):
    assert training_blocks([], tmp_path) == []
    assert training_blocks([TrainingLine(step=1, loss=1.0)], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
