"""The site builds without a network, every page is in it, no page asks another host, and no link is broken."""

import shutil
import subprocess
import sys

import pytest
import yaml

from polycli.families import SHIPPED
from polycli.recipes.keys import keys_of
from tests.docs.blocks import ROOT
from tools import command_line, pages, recipes
from tools.check_site import problems


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of what the site is built from, with the pages that are made from the program."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("reference"))
    shutil.copy(ROOT / "mkdocs.yml", folder)
    pages.write(folder / "docs" / "reference")
    return folder


def test_the_site_builds_strictly_and_no_page_asks_another_host(made):
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=made, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert problems(made / "site") == []


def test_every_page_is_in_the_navigation(made):
    def paths(entry):
        if isinstance(entry, str):
            yield entry
        for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from paths(below)

    navigation = yaml.safe_load((made / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    present = {path.relative_to(made / "docs").as_posix() for path in (made / "docs").rglob("*.md")}
    decisions = {path for path in present if path.startswith("decisions/0")}
    assert set(paths(navigation)) == present - decisions
    listed = (made / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [path for path in decisions if f"({path.removeprefix('decisions/')})" not in listed] == []


def test_another_host_and_broken_links_are_found(tmp_path):
    (tmp_path / "a.css").write_text("@import 'https://fonts.example/a.css'; b { background: url(c.png) }")
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="canonical" href="https://example.org/">'
        '<link rel="stylesheet" href="a.css"><h1 id="top"></h1><a href="https://example.org">out</a>'
        '<a href="#top">fine</a><a href="#nowhere">not</a><a href="gone.html">gone</a>'
    )
    assert problems(tmp_path) == [
        "index.html: loads https://cdn.example/x.js",
        "index.html: links to #nowhere, which has no such anchor",
        "index.html: links to gone.html, which is not there",
        "a.css: loads https://fonts.example/a.css",
    ]


def test_every_argument_and_option_says_what_it_is_for():
    assert command_line.without_help() == []


def test_the_page_of_the_command_line_has_every_option():
    page = command_line.page()
    for leaf in command_line.commands():
        section = page.split(f"\n### {' '.join(leaf.words)}\n")[1].split("\n### ")[0]
        for parameter in leaf.command.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert parameter.opts[0] in section, leaf.words


@pytest.mark.parametrize("family", SHIPPED)
def test_the_page_of_keys_has_every_key_of_every_verb(family):
    page = recipes.keys_page(family)
    for verb in recipes.verbs_with_keys(family):
        section = page.split(f"\n## {verb} {family}\n")[1].split("\n## ")[0]
        assert [key.path for key in keys_of(family, verb) if key.path not in section] == []
