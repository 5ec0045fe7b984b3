"""Records whose ids the user gave are known by them where their content differs; names of files and rows are not."""

from pathlib import Path

import pytest

from polycli.checkpoints.exported import ModelDescription
from polycli.store.reader import open_store
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows, check_overlap, trained_entry
from tests.xval.conftest import prepare


@pytest.mark.parametrize(("settings", "same"), [(("table.id_column=star",), True), ((), False)])
def test_the_same_id_with_other_content_is_said(tmp_path, capsys, settings, same):
    stores = []
    for folder, factor in (("first", 1.0), ("second", 1.5)):
        table = tmp_path / folder / "stars.csv"
        table.parent.mkdir()
        rows = [f"star-{row},{factor * (row + 1.25)},{row / 7}" for row in range(30)]
        table.write_text("\n".join(["star,mass,age", *rows]) + "\n")
        stores.append(open_store(prepare("table", tmp_path / f"{folder}.zarr", *settings, inputs=[table])))
    trained, scored = stores
    entry = trained_entry(trained, trained.rows("train"))
    description = ModelDescription(
        family="xval", verb="pretrain", version="0", step=1, model={}, trained_on={"stars": entry}
    )
    loaded = LoadedCheckpoint(
        model_file=Path("m.safetensors"), selected_by="as given", model_hash="0", description=description, run=None
    )

    seen = check_overlap([ScoredRows(scored, scored.rows())], loaded, rows_are="records", allow=False)
    expected = trained.manifest.splits["train"] if same else 0
    assert (seen.count, seen.same_id) == (0, expected)
    said = " ".join(capsys.readouterr().err.split())
    assert ("have an id that the training had with other content" in said) is same
