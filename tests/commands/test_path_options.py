"""Every option that takes a path, in every form that people write: families get paths without `~` and `..`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from polycli.__main__ import run as command_line
from polycli.inspection.finding import Finding
from polycli.paths import expand_paths
from polycli.recipes import find_recipe

#: How a path may be written in `work/here`, with `{}` for a name; what it means is below, from `work`.
FORMS = {
    "{root}/work/there/{}": "there/{}",
    "{}": "here/{}",
    "./{}": "here/{}",
    "../there/{}": "there/{}",
    "../there/deeper/../{}": "there/{}",
    "../here/../there/./deeper/../{}": "there/{}",
    "sub/../{}": "here/{}",
    # The system follows the link before it goes up: this is not here/{}.
    "link/../{}": "there/{}",
    "link/{}": "there/deeper/{}",
    "with some spaces/{}": "here/with some spaces/{}",
    "Größe/π {}": "here/Größe/π {}",
    "~/{}": "home/{}",
    "~/../there/{}": "there/{}",
    "{}/": "here/{}",
    "../there/{}/": "there/{}",
}


@dataclass
class Place:
    """Where a command line is written, and what it asked for."""

    root: Path
    asked: object = None

    def written(self, form: str, name: str) -> str:
        return form.replace("{root}", str(self.root)).replace("{}", name)

    def meant(self, form: str, name: str) -> Path:
        return self.root / "work" / FORMS[form].replace("{}", name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    work = tmp_path / "work"
    for folder in ("here/sub", "here/with some spaces", "here/Größe", "there/deeper", "home"):
        (work / folder).mkdir(parents=True)
    (work / "here" / "link").symlink_to(work / "there" / "deeper")
    monkeypatch.chdir(work / "here")
    monkeypatch.setenv("HOME", str(work / "home"))
    found = Place(tmp_path)

    def remember(asked):
        found.asked = asked

    monkeypatch.setattr("polycli.commands.options.verb_module", lambda *_: SimpleNamespace(run=remember))
    monkeypatch.setattr("polycli.workflow.study.running.run_study", lambda request, _: remember(request))
    return found


def as_meant(path: Path, expected: Path) -> bool:
    """The same place and name, in a form that every library takes."""
    plain = ".." not in path.parts and "~" not in path.parts
    return plain and path.name == expected.name and path.parent.resolve() == expected.parent.resolve()


#: By verb: the words before those that are looked at.
VERBS = {
    "prepare": ["prepare", "mpp", "--source", "any", "--output", "out"],
    "pretrain": ["pretrain", "mpp", "--recipe", "mpp_ti"],
    "finetune": ["finetune", "xval", "--recipe", "xval_finetune", "--checkpoint", "run"],
    "eval": ["eval", "mpp", "--checkpoint", "run"],
    "calibrate": ["calibrate", "mpp", "--checkpoint", "run"],
    "predict": ["predict", "mpp", "--checkpoint", "run", "--data", ".", "--output", "out"],
    "embed": ["embed", "xval", "--checkpoint", "run", "--data", ".", "--output", "out"],
    "study": ["study", "xval", "--recipe", "xval_study", "--output", "out"],
}
SINGLE = [
    *((verb, "output") for verb in VERBS),
    *((verb, "checkpoint") for verb in ("finetune", "eval", "calibrate", "predict", "embed")),
]
MANY = [
    ("prepare", "input"),
    *((verb, "data") for verb in ("pretrain", "finetune", "eval", "calibrate", "predict", "embed")),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("verb", "option"), SINGLE)
def test_an_option_of_one_path_is_the_place_that_is_meant(place, verb, option, form):
    assert command_line([*VERBS[verb], f"--{option}", place.written(form, "x.zarr")]) == 0
    assert as_meant(getattr(place.asked, option), place.meant(form, "x.zarr"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("verb", "option"), MANY)
def test_an_option_of_many_paths_is_the_places_that_are_meant(place, verb, option, form):
    expected = place.meant(form, "x.zarr")
    expected.mkdir()
    words = [word for word in VERBS[verb] if word not in ("--data", ".")]
    assert command_line([*words, f"--{option}", place.written(form, "x.zarr")]) == 0
    found = expand_paths(place.asked.inputs if option == "input" else place.asked.data)
    assert len(found) == 1
    assert as_meant(found[0], expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("verb", ["prepare", "pretrain", "finetune", "study"])
def test_a_recipe_is_the_file_that_is_meant(place, verb, form):
    words = VERBS[verb]
    shipped = words[words.index("--recipe") + 1] if "--recipe" in words else "mpp_demo_data"
    expected = place.meant(form, "my.yaml")
    expected.write_text(find_recipe(shipped).read_text())
    written = place.written(form, "my.yaml").rstrip("/")
    assert command_line([*words, "--recipe", written]) == 0
    assert find_recipe(place.asked.recipe).samefile(expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_commands_that_look_around_see_the_place_that_is_meant(place, monkeypatch, capsys, form):
    seen = {}

    def export(checkpoint, output, **_):
        seen.update(checkpoint=checkpoint, output=output)

    def look(path, **_):
        seen.update(path=path)
        return Finding(("any",), {"kind": "any"})

    monkeypatch.setattr("polycli.exporting.export_checkpoint", export)
    monkeypatch.setattr("polycli.inspection.inspect_path", look)
    monkeypatch.setattr("polycli.demo.run_demo", lambda _, output, **__: seen.update(demo=output))
    written, expected = place.written(form, "x"), place.meant(form, "x")
    assert command_line(["export", written, "--output", written]) == 0
    assert command_line(["inspect", written]) == 0
    assert command_line(["demo", "mpp", "--output", written]) == 0
    assert sorted(seen) == ["checkpoint", "demo", "output", "path"]
    assert all(as_meant(path, expected) for path in seen.values())


@pytest.mark.parametrize("form", FORMS)
def test_a_recipe_is_copied_to_the_place_that_is_meant(place, form):
    expected = place.meant(form, "mine.yaml")
    assert command_line(["recipes", "copy", "mpp_ti", place.written(form, "mine.yaml")]) == 0
    assert expected.read_text() == find_recipe("mpp_ti").read_text()


def test_lists_and_patterns_lead_up_too(place):
    (place.root / "work" / "there" / "a.h5").touch()
    (place.root / "work" / "there" / "list.txt").write_text("../there/a.h5\n")
    for written in ("../there/*.h5", "@../there/list.txt"):
        assert command_line([*VERBS["prepare"], "--input", written]) == 0
        (found,) = place.asked.inputs
        assert as_meant(found, place.root / "work" / "there" / "a.h5")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("~nobody-of-this-name/x", "no path can be made of it"),
        ("circle/../x", "circle/../x: no "),
        ("y" * 300, "cannot be looked at: File name too long"),
        ("", "a path is empty"),
    ],
)
def test_what_is_no_path_is_one_sentence(place, capsys, written, said):
    Path("circle").symlink_to("circle")
    assert command_line([*VERBS["prepare"], "--input", written]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("family", ["mpp", "xval", "astroclip"])
def test_a_store_is_prepared_above_and_read_from_below(tmp_path, monkeypatch, capsys, pdebench, family):
    """Zarr libraries refuse `..`; this ended in tracebacks, and sound stores were said to be damaged."""
    work = tmp_path / "here" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    pdebench.shallow_water(tmp_path / "here" / "swe.h5")
    (tmp_path / "here" / "records.jsonl").write_text("".join(f'{{"a": {n}}}\n' for n in range(9)))
    source, name = {
        "mpp": (["--source", "pdebench", "--input", "../swe.h5"], "swe_8x6.zarr"),
        "xval": (["--source", "json", "--input", "../records.jsonl"], "out.zarr"),
        "astroclip": (["--source", "mock", "--set", "mock.objects=3", "--set", "mock.size=64"], "out.zarr"),
    }[family]
    output = "../stores" if family == "mpp" else "../stores/out.zarr"
    assert command_line(["prepare", family, *source, "--output", output, "--workers", "1"]) == 0
    capsys.readouterr()
    assert command_line(["inspect", f"../stores/{name}", "--verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == family
    assert os.listdir(tmp_path / "here" / "stores") == [name]  # noqa: PTH208
