"""Profiled steps: what is written, which steps they are, and that they compute what any other does."""

import json

from polycli.engine.monitor.profiling import top_operators


def traces(run) -> list[str]:
    return sorted(path.name for path in (run / "profile").iterdir())


def test_steps_after_the_warm_up_are_traced_and_no_number_changes(toy, world, tmp_path, metrics_of, capfd):
    settings = {"train__steps": 7, "engine__zero_stage": 2}
    toy.train_toy(tmp_path / "plain", toy.ToyTask(dropout=0.3), world, **settings)
    toy.train_toy(tmp_path / "run", toy.ToyTask(dropout=0.3), world, log__profile=2, **settings)
    assert traces(tmp_path / "run") == ["rank0-step00000004.json", "rank0-step00000005.json"]
    events = json.loads((tmp_path / "run/profile/rank0-step00000004.json").read_text())["traceEvents"]
    assert "aten::tanh" in {event.get("name") for event in events}
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "plain")
    log = (tmp_path / "run/log.txt").read_text()
    assert "ms/step" in log
    assert "aten::" in log
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "profiled 2 steps" in captured.err


def test_a_run_that_is_too_short_for_a_warm_up_is_profiled_to_its_end(toy, world, tmp_path):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3, log__profile=2)
    assert traces(tmp_path / "run") == ["rank0-step00000002.json", "rank0-step00000003.json"]
    toy.train_toy(tmp_path / "short", toy.ToyTask(), world, train__steps=2, log__profile=9)
    assert traces(tmp_path / "short") == ["rank0-step00000001.json", "rank0-step00000002.json"]


def test_the_table_ranks_operators_by_their_own_time():
    table = top_operators({"a": [4, 1000.0], "b": [2, 3000.0]}, steps=2)
    assert [line.split() for line in table[1:]] == [["1.50", "75.0%", "1", "b"], ["0.50", "25.0%", "2", "a"]]
    assert len(top_operators({f"op{n}": [1, float(n)] for n in range(50)}, steps=1)) == 11
    assert table[0].split() == ["ms/step", "share", "calls/step", "operator"]
