"""Reports of every family and the site fit windows from a desktop's to a phone's, light and dark, and ask no host."""

import subprocess
from pathlib import Path

import pytest

from tests.browser.conftest import REPOSITORY, contrast, environment, python

pytestmark = pytest.mark.browser
WIDTHS = (1280, 800, 400)
SCHEMES = ("light", "dark")
#: What reaches beyond the window, innermost elements first, so that a failure says what to mend; what lies in a box
#: that scrolls does not count.
BEYOND = """() => {
  const cut = (one) => ['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(one).overflowX);
  const inside = (one) => one && one !== document.documentElement && one !== document.body
    && (cut(one) || inside(one.parentElement));
  return [...document.body.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !inside(one.parentElement))
    .map((one) => `${one.tagName.toLowerCase()} .${one.className} ${one.textContent.trim().slice(0, 60)}`)
    .reverse().slice(0, 5);
}"""
REPORTS = ("index.html", "mpp/report.html", "xval/report.html", "astroclip/report.html")
#: The first page, one with wide tables, one with pictures, one that is made from the program.
PAGES = (
    "index.html",
    "benchmarks.html",
    "formats.html",
    "mpp.html",
    "reference/command-line.html",
    "reference/keys-mpp.html",
)


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    line = [python(), str(Path(__file__).with_name("reports.py")), str(folder)]
    subprocess.run(line, check=True, env=environment(), cwd=REPOSITORY)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built beside the repository's, which stays as it is."""
    folder = tmp_path_factory.mktemp("site")
    lines = (
        "import shutil, sys; from pathlib import Path; from tools import pages; at = Path(sys.argv[1]);"
        "shutil.copytree('docs', at / 'docs', ignore=shutil.ignore_patterns('reference'));"
        "shutil.copy('mkdocs.yml', at); pages.write(at / 'docs' / 'reference')"
    )
    subprocess.run([python(), "-c", lines, str(folder)], check=True, env=environment(), cwd=REPOSITORY)
    subprocess.run([python(), "-m", "zensical", "build", "--strict"], check=True, env=environment(), cwd=folder)
    return folder / "site"


@pytest.fixture
def looked_at(browser):
    """`looked_at(path, width, scheme)` opens a file, which must ask nobody for anything and have no errors."""
    contexts, wrong = [], []

    def look(path, width, scheme):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda each: None if each.url.startswith(("file:", "data:", "blob:")) else wrong.append(each.url)
        )
        page.goto(path.as_uri())
        return page

    yield look
    for context in contexts:
        context.close()
    assert wrong == []


def fits(page, width):
    assert page.evaluate(BEYOND) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_fits_the_window_and_can_be_read(looked_at, reports, name, width, scheme):
    page = looked_at(reports / name, width, scheme)
    fits(page, width)
    for selector in ("body", "h1", "th", "td", "a"):
        assert contrast(page, selector) >= 4.5, selector


@pytest.mark.parametrize("name", REPORTS)
def test_every_column_of_a_report_can_be_reached_on_a_phone(looked_at, reports, name):
    """A table that is wider than the window lies in a box that scrolls, to its last column."""
    page = looked_at(reports / name, 400, "light")
    reached = page.evaluate(
        """() => [...document.querySelectorAll('table')].map((table) => {
          let box = table;
          while (box && box.scrollWidth <= box.clientWidth) box = box.parentElement;
          const last = [...table.rows[0].cells].at(-1);
          last.scrollIntoView({inline: 'end'});
          return last.getBoundingClientRect().right <= innerWidth + 1;
        })"""
    )
    assert reached
    assert all(reached)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_site_fits_the_window(looked_at, site, name, width):
    page = looked_at(site / name, width, "dark" if width == 400 else "light")
    fits(page, width)
    assert contrast(page, "article p") >= 4.5


@pytest.mark.parametrize("name", REPORTS[1:])
def test_a_report_is_printed_in_light_colours_within_the_paper(looked_at, reports, name):
    page = looked_at(reports / name, 700, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    fits(page, 700)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert min(map(int, ground.strip("rgba()").split(",")[:3])) >= 250 or ground == "rgba(0, 0, 0, 0)"
