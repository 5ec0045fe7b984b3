"""A server of the page and a Chromium that looks at it, for as long as the tests run.

These tests run in an environment with Playwright alone; what needs polycli runs in POLYCLI_PYTHON.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

REPOSITORY = Path(__file__).parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: Chromium shall ask nobody for anything by itself, and needs no sandbox for a page of our own.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
#: Width of the window and what the user prefers.
LOOKS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]


def python():
    found = os.environ.get("POLYCLI_PYTHON", sys.executable)
    return str(Path(found).absolute()) if os.sep in found else found


def environment():
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def until(page, expression, seconds=90):
    """Wait until an expression is true; Playwright's own way evaluates it in the page, whose policy forbids that."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never became true: {expression}"
        page.wait_for_timeout(50)


def contrast(page, selector):
    """The ratio of the luminances of a text and what is behind it, as WCAG 2 defines it."""
    return page.evaluate(
        """(selector) => {
          const channels = (text) => text.match(/[\\d.]+/g).map(Number);
          const luminance = ([r, g, b]) => {
            const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * x + 0.7152 * y + 0.0722 * z;
          };
          const element = document.querySelector(selector);
          let behind = element;
          const ground = (one) => channels(getComputedStyle(one).backgroundColor);
          while (ground(behind)[3] === 0) behind = behind.parentElement;
          const [a, b] = [channels(getComputedStyle(element).color), ground(behind)].map(luminance);
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }""",
        selector,
    )


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test-browser")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    """The files that `survey.py` makes, and what is true of them."""
    folder = tmp_path_factory.mktemp("survey")
    line = [python(), str(Path(__file__).with_name("survey.py")), str(folder)]
    subprocess.run(line, check=True, env=environment(), cwd=REPOSITORY)
    return SimpleNamespace(
        folder=folder,
        **{key.replace("-", "_"): value for key, value in json.loads((folder / "truth.json").read_text()).items()},
    )


@contextmanager
def serving(*words):
    """The address of a page, while it is served."""
    line = [python(), "-m", "polycli", "serve", "--port", "0", *map(str, words)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield address
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.fixture(scope="session")
def address(survey):
    folder = survey.folder
    words = ("--data", folder / "mock.zarr", "--checkpoint", folder / "model" / "model.safetensors")
    with serving(folder / "survey.parquet", *words) as found:
        yield found


@pytest.fixture
def opened(browser):
    """`opened(address, width, scheme)` opens the page and sees to it that it has no errors and asks nobody else."""
    contexts, complaints, foreign = [], [], []

    def open_page(address, width=1280, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "blob:", "data:")) else foreign.append(request.url)
            ),
        )
        page.goto(address)
        until(page, "document.querySelector('#title').textContent !== 'polycli'")
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert foreign == []
    assert complaints == []
