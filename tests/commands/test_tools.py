"""`polycli weights ls` states what is known and downloads nothing."""

import json

from polycli import __main__ as entry
from polycli.families import SHIPPED


def test_every_family_is_listed_with_project_licence_and_size(capsys):
    assert entry.run(["weights", "ls", "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)
    assert {entry["family"] for entry in weights} == set(SHIPPED)
    sizes = {entry["name"]: entry["parameters"] for entry in weights}
    # Table 1 of McCabe et al. 2024, in millions, at the twelve states of the published files.
    assert [round(sizes[f"MPP AViT-{size}"] / 1e6, 2) for size in ("Ti", "S", "B", "L")] == [
        7.29,
        28.98,
        115.61,
        407.06,
    ]
    for entry_ in weights:
        assert entry_["project"].startswith("https://github.com/")
        assert entry_["licence"]


def test_the_table_fits_one_line_per_checkpoint(capsys, monkeypatch):
    # Workers of a parallel test run say a width; nobody watches here.
    monkeypatch.delenv("COLUMNS", raising=False)
    assert entry.run(["weights", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("xVal") and "not published" in line for line in lines)
