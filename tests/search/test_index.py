"""The index says a recall that an own count confirms, survives kills, and is not used for other vectors."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from polycli.errors import UserError
from polycli.requests import SearchRequest
from polycli.search import building
from polycli.search.find import run
from polycli.search.index import INDEX_NAME, VectorIndex, index_path
from polycli.search.searcher import Searcher
from tests.search.made import write

COUNT, WIDTH, COLUMN = 3000, 16, "record_embedding"


def clustered(seed=0):
    draw = np.random.default_rng(seed)
    middles = 2 * draw.standard_normal((60, WIDTH))
    return (middles[draw.integers(0, 60, COUNT)] + draw.standard_normal((COUNT, WIDTH))).astype(np.float32)


@pytest.fixture
def embeddings(tmp_path):
    table = pa.table({"record_id": [f"r{number}" for number in range(COUNT)]})
    return write(tmp_path / "records.parquet", table, {COLUMN: clustered()})


def build(path, **options):
    return building.build(Searcher.open(path), COLUMN, **{"recall": 0.9, "lists": 64, "force": False, **options})


def exact_ten(vectors, rows):
    """By numpy alone: the ten nearest others of some rows."""
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosine = unit[rows] @ unit.T
    cosine[np.arange(len(rows)), rows] = -2
    return np.argsort(-cosine, axis=1, kind="stable")[:, :10]


def test_the_recall_that_is_printed_equals_an_own_count(embeddings, capfd):
    made = build(embeddings)
    assert 0.9 <= made["recall_at_10"] < 1
    assert 1 <= made["probes"] < made["lists"] == 64
    assert f"recall@10 {made['recall_at_10']:.4f} against the exact search on 1,000 queries" in capfd.readouterr().err
    searcher = Searcher.open(embeddings)
    index = searcher.index(COLUMN)
    rows = building.query_rows(COUNT, 1000)
    hits = 0
    for row, expected in zip(rows.tolist(), exact_ten(clustered(), rows), strict=True):
        answer = searcher.nearest(clustered()[row], COLUMN, 10, without=[row], index=index)
        assert not answer.exact
        hits += len({neighbour.row for neighbour in answer.neighbours} & set(expected.tolist()))
    assert hits / 10_000 == pytest.approx(made["recall_at_10"], abs=1e-12)


def test_the_recall_is_told_with_every_answer(embeddings):
    made = build(embeddings)
    document = run(SearchRequest(embeddings=embeddings, id="r7", index=True, json=True))
    assert (document["exact"], document["recall"]) == (False, made["recall_at_10"])
    assert document["compared"] < COUNT / 4
    exact = run(SearchRequest(embeddings=embeddings, id="r7", json=True))
    assert (exact["exact"], exact["recall"], exact["compared"]) == (True, None, COUNT)
    known = {each["id"]: each["similarity"] for each in exact["neighbours"]}
    same = [each for each in document["neighbours"] if each["id"] in known]
    assert len(same) > 5
    assert all(each["similarity"] == known[each["id"]] for each in same), "by the vectors, not by the rounded ones"


def test_stdout_carries_results_alone(embeddings, capfd):
    build(embeddings)
    run(SearchRequest(embeddings=embeddings, id="r7", index=True, json=True))
    assert capfd.readouterr().out == ""


def test_looking_at_all_lists_finds_what_the_exact_search_finds_and_saves_nothing(embeddings, capsys):
    assert build(embeddings, recall=1.0, lists=4)["recall_at_10"] == 1.0
    assert "the exact search is about as fast" in capsys.readouterr().err


def test_filters_are_answered_exactly(embeddings):
    build(embeddings)
    document = run(SearchRequest(embeddings=embeddings, id="r7", index=True, where="record_id < 'r2'", json=True))
    assert (document["exact"], document["recall"]) == (True, None)
    assert all(each["id"] < "r2" for each in document["neighbours"])


def test_a_build_that_is_killed_goes_on_where_it_was(embeddings, monkeypatch):
    monkeypatch.setattr(building, "_PART_ROWS", 700)
    whole = build(embeddings)
    folder = index_path(Searcher.open(embeddings).stored, COLUMN)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    building.remove(folder)
    write_index, written = building._write, []

    def killed_at_the_fourth(index, file):
        written.append(file.name)
        if len(written) == 4:
            raise KeyboardInterrupt
        write_index(index, file)

    monkeypatch.setattr(building, "_write", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        build(embeddings)
    assert not folder.exists()
    written.clear()
    monkeypatch.setattr(building, "_write", lambda index, file: written.append(file.name) or write_index(index, file))
    assert build(embeddings) == whole
    assert written == ["part-00002.faiss", "part-00003.faiss", "part-00004.faiss"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()}[INDEX_NAME] == files[INDEX_NAME]
    assert sorted(path.name for path in embeddings.parent.iterdir() if path.name.startswith(".")) == []
    written.clear()
    build(embeddings)
    assert written == [], "what is up to date is not made again"


def test_an_index_of_other_vectors_is_refused_and_built_anew(embeddings, tmp_path):
    build(embeddings)
    table = pa.table({"record_id": [f"r{number}" for number in range(COUNT)]})
    (tmp_path / "new").mkdir()
    write(tmp_path / "new" / "records.parquet", table, {COLUMN: clustered(seed=1)}).replace(embeddings)
    searcher = Searcher.open(embeddings)
    with pytest.raises(UserError, match=r"index: is of other vectors than .* has now") as refusal:
        searcher.index(COLUMN)
    assert "polycli search build" in refusal.value.hint
    build(embeddings)
    assert searcher.index(COLUMN).facts.identity == searcher.stored.identity()


def test_an_index_that_is_moved_with_its_embeddings_still_answers(embeddings, tmp_path):
    build(embeddings)
    folder = index_path(Searcher.open(embeddings).stored, COLUMN)
    (tmp_path / "moved").mkdir()
    for path in (embeddings, folder):
        path.rename(tmp_path / "moved" / path.name)
    searcher = Searcher.open(tmp_path / "moved" / embeddings.name)
    answer = searcher.nearest(clustered()[0], COLUMN, 3, index=searcher.index(COLUMN))
    assert answer.neighbours[0].row == 0


def test_without_an_index_or_without_faiss_the_way_out_is_said(embeddings, monkeypatch):
    with pytest.raises(UserError, match="has no index of record_embedding") as refusal:
        run(SearchRequest(embeddings=embeddings, id="r7", index=True, json=True))
    assert refusal.value.hint == f"polycli search build {embeddings}, or leave --index out"
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match="an index needs faiss") as refusal:
        build(embeddings)
    assert refusal.value.hint == "pip install 'polycli[search]'"


def test_vectors_that_are_not_finite_are_in_no_list(tmp_path):
    vectors = clustered()
    vectors[5] = np.nan
    table = pa.table({"record_id": [str(number) for number in range(COUNT)]})
    path = write(tmp_path / "r.parquet", table, {COLUMN: vectors})
    assert build(path)["rows"] == COUNT
    index = VectorIndex.open(Searcher.open(path).stored, COLUMN)
    assert 5 not in index.search(clustered()[6:7], 50).rows
