"""README's three lines of xVal on a table that nobody made for them: errors below the mean's, intervals that hold."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from polycli.__main__ import run as command_line

README = Path(__file__).resolve().parents[2] / "README.md"
TRAINED = 350


def write(path, names, rows, blanks=frozenset()):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for number, row in enumerate(rows):
            writer.writerow(["" if (number, place) in blanks else repr(float(v)) for place, v in enumerate(row)])


@pytest.mark.slow
@pytest.mark.timeout(900)  # The training is 80 seconds of one core.
def test_the_readmes_lines_fill_in_a_real_table_with_intervals_that_hold(tmp_path, monkeypatch):
    found = load_diabetes(scaled=False)
    names = [*found.feature_names, "progression"]
    generator = np.random.default_rng(0)
    rows = generator.permutation(np.column_stack([found.data, found.target]))
    train, test = rows[:TRAINED], rows[TRAINED:]
    # A third of the cells of every test row but for its first column, so that there are some hundreds of answers.
    blanks = {(n, int(p)) for n in range(len(test)) for p in generator.choice(len(names), 3, replace=False)}
    write(tmp_path / "samples.csv", names, train)
    write(tmp_path / "gaps.csv", names, test, blanks)
    monkeypatch.chdir(tmp_path)
    lines = re.findall(
        r"^\$ polycli ((?:prepare|pretrain|predict) xval .*)$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [line.split()[0] for line in lines] == ["prepare", "pretrain", "predict"]
    for line in lines:
        assert command_line(shlex.split(line)) == 0, line
    with (tmp_path / "filled.csv").open(newline="") as file:
        answers = list(csv.DictReader(file))
    inside, errors, of_the_mean = [], [], []
    for number, place in sorted(blanks):
        name, truth, spread = names[place], test[number, place], train[:, place].std()
        value, low, high = (float(answers[number][column]) for column in (name, f"{name}_low", f"{name}_high"))
        inside.append(low <= truth <= high)
        errors.append(abs(value - truth) / spread)
        of_the_mean.append(abs(train[:, place].mean() - truth) / spread)
    assert len(inside) == 276
    assert abs(np.mean(inside) - 0.9) <= 0.05
    assert np.mean(errors) < 0.9 * np.mean(of_the_mean)
