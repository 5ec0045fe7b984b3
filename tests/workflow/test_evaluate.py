"""The flow of an evaluation with a science of its own: what is written, and what is left after a failure."""

import json
from dataclasses import dataclass

import pytest

from polycli.checkpoints.exported import ModelDescription
from polycli.checkpoints.trained_on import TrainedOn
from polycli.errors import StoreError, UserError
from polycli.report.table import Table
from polycli.requests import EvalRequest
from polycli.sections import Section
from polycli.store.manifest import read_manifest
from polycli.workflow.evaluate import Evaluation
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.overlap import ScoredRows
from tests.mpp.conftest import make_store


class Settings(Section):
    family: str = "mpp"
    verb: str = "eval"
    depth: int = 3


@dataclass(frozen=True)
class Chosen:
    scored: ScoredRows


class Mean(Evaluation):
    """Scores the mean of each store's trajectories."""

    family = "mpp"
    rows_are = "trajectories"

    def choose(self, store):
        return Chosen(ScoredRows(store, store.rows(self.request.split)))

    def score(self, subset, folder):
        values = subset.scored.store.read_rows("fields", subset.scored.rows)
        return {"mean": float(values.mean()), "infinite": float("inf")}, "a picture"

    def tables(self, datasets):
        return [Table("means", ("dataset", "mean"), [(name, str(found["mean"])) for name, found in datasets.items()])]

    def write_report(self, scores, subsets, pictures, folder):
        (folder / "report.html").write_text(f"{list(subsets)} {pictures}")

    def compared_with(self):
        return {"beside": "nothing"}


@pytest.fixture
def evaluation(tmp_path):
    def make(*stores, trained_on=None, kind=Mean, **options):
        description = ModelDescription(
            family="mpp", verb="pretrain", version="0", step=1, model={}, trained_on=trained_on or {}
        )
        loaded = LoadedCheckpoint(
            model_file=tmp_path / "m.safetensors",
            selected_by="as given",
            model_hash="0",
            description=description,
            run=None,
        )
        request = EvalRequest(checkpoint=tmp_path, data=stores, output=tmp_path / "out", json=True, **options)
        return kind(loaded, Settings(), request)

    return make


def test_scores_report_and_provenance_are_written_whole(tmp_path, evaluation):
    stores = [make_store(tmp_path, name) for name in ("waves", "ripples")]
    scores = evaluation(*stores).run(report=True)

    assert scores == json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores) == [
        *("split", "checkpoint", "selected_by", "model_hash", "version"),
        *("store_hash", "overlap", "beside", "settings", "datasets"),
    ]
    assert scores["settings"] == {"depth": 3}
    assert list(scores["datasets"]) == list(scores["store_hash"]) == ["ripples", "waves"]
    assert scores["datasets"]["waves"]["infinite"] is None, "JSON has no infinity"
    assert "a picture" in (tmp_path / "out" / "report.html").read_text()


def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path, evaluation):
    class Failing(Mean):
        def score(self, subset, folder):
            raise StoreError("a chunk is damaged")

    store = make_store(tmp_path, "waves")
    before = evaluation(store).run(report=True)
    with pytest.raises(StoreError, match="a chunk is damaged"):
        evaluation(store, kind=Failing).run(report=True)
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "scores.json"]


def test_a_family_that_compares_nothing_says_so(tmp_path, evaluation):
    with pytest.raises(UserError, match="eval mpp takes no --baseline here"):
        evaluation(make_store(tmp_path, "waves"), baselines=(tmp_path / "other",)).run(report=False)
    assert not (tmp_path / "out").exists()


def test_nothing_is_scored_that_was_trained_on(tmp_path, evaluation):
    path = make_store(tmp_path, "waves")
    trained_on = {"waves": TrainedOn(store_hash="0", rows=read_manifest(path).row_hashes)}

    with pytest.raises(StoreError, match="trained on 1 of the 1 trajectories"):
        evaluation(path, trained_on=trained_on).run(report=False)
    assert not (tmp_path / "out").exists()
    allowed = evaluation(path, trained_on=trained_on, allow_overlap=True).run(report=False)
    assert allowed["overlap"] == {"checked": True, "trajectories": 1, "allowed": True}
