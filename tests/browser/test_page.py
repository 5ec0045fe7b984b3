"""Everything that a user does on the page, in Chromium: wide and narrow, light and dark."""

import csv
import json
import re

import pytest

from tests.browser.conftest import LOOKS, contrast, serving, until

pytestmark = pytest.mark.browser
IDS = "[...document.querySelectorAll('#cards .id')].map((each) => each.title)"


def ids(page):
    return page.evaluate(IDS)


def ask(page, text):
    page.fill("#query", text)
    with page.expect_response("**/api/search"):
        page.press("#query", "Enter")
    until(page, "!document.body.classList.contains('busy')")


def searched(page, act):
    """Do something that searches, and wait for what it finds."""
    with page.expect_response("**/api/search") as answer:
        act()
    until(page, "!document.body.classList.contains('busy')")
    return answer.value


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_an_id_finds_its_neighbours_with_pictures_in_every_look(opened, address, survey, width, scheme):
    page = opened(address, width, scheme)
    assert page.is_visible("#empty")
    ask(page, survey.ids[survey.query])
    page.select_option("#k", "12")
    until(page, "document.querySelectorAll('#cards .card').length === 12")
    assert ids(page) == survey.image_image
    assert survey.ids[survey.query] in page.inner_text("#asked")
    assert "12 neighbours" in page.inner_text("#summary")
    until(page, "document.querySelectorAll('#cards .spark').length === 12")
    until(page, "document.querySelector('#cards img').naturalWidth > 0")
    # Nothing is wider than the window, and texts can be read.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#summary", ".card .id", ".values dt", ".similarity", ".actions button", "#subtitle", ".primary"):
        assert contrast(page, selector) >= 4.5, selector
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 150) == (scheme == "dark")


def test_a_position_finds_the_object_there(opened, address, survey):
    page = opened(address)
    ra, dec = survey.places[3]
    ask(page, f"{ra} {dec}")
    assert survey.ids[3] in page.inner_text("#asked")
    assert "arcsec from" in page.inner_text("#asked")


def test_an_image_is_looked_for_among_spectra_and_by_spectrum(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    searched(page, lambda: page.click("label[for='in-spectrum']"))
    assert ids(page)[:12] == survey.image_spectrum
    searched(page, lambda: page.click("label[for='vector-spectrum']"))
    assert ids(page)[:12] == survey.spectrum_spectrum
    page.click("label[for='show-images']")
    assert not page.is_visible("#cards .picture")
    assert page.is_visible("#cards .spark")


def test_filters_restrict_what_is_found_and_can_be_taken_away(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    page.click("#filters summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.fill("#where", "redshift < 0.2")
    searched(page, lambda: page.press("#where", "Enter"))
    known = dict(zip(survey.ids, survey.redshift, strict=True))
    assert ids(page)
    assert all(known[each] < 0.2 for each in ids(page))
    assert "redshift < 0.2" in page.inner_text("#chips")
    page.click("#filters summary")
    ra, dec = survey.places[5]
    for name, value in (("ra", ra), ("dec", dec), ("radius", 1)):
        page.fill(f"#cone-{name}", str(value))
    page.fill("#where", "")
    searched(page, lambda: page.click("#filter-form .primary"))
    assert ids(page) == [survey.ids[5]]
    searched(page, lambda: page.click("#chips button"))
    assert len(ids(page)) == 24


def test_a_wrong_condition_and_an_unknown_id_are_said_and_nothing_is_lost(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    before = ids(page)
    page.click("#filters summary")
    page.fill("#where", "redshif < 1")
    page.press("#where", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "redshif" in page.inner_text("#notice")
    assert "redshift" in page.inner_text("#notice")
    assert page.get_attribute("#where", "aria-invalid") == "true"
    assert ids(page) == before
    page.click("#filters summary")
    searched(page, lambda: page.click("#filters-clear"))
    page.click("#filters summary")
    page.fill("#query", "no such id")
    page.press("#query", "Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "no such id" in page.inner_text("#notice")
    # Chromium itself reports answers with an error.
    assert all("400" in each for each in opened.complaints)
    opened.complaints.clear()


def test_marks_move_the_search_and_leave_the_list(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    first = ids(page)
    page.click("#cards .card:nth-child(1) .mark-good")
    page.click("#cards .card:nth-child(2) .mark-bad")
    assert "1 good, 1 bad" in page.inner_text("#marks")
    searched(page, lambda: page.click("#again"))
    assert not set(first[:2]) & set(ids(page))
    assert "moved by 1 good and 1 bad" in page.inner_text("#asked")
    page.click("#marks-clear")
    assert not page.is_visible("#marks")


def test_a_dropped_spectrum_finds_its_galaxy(opened, address, survey):
    page = opened(address)
    page.set_input_files("#file", survey.folder / "spectrum.fits")
    until(page, "document.querySelector('#asked').textContent.includes('spectrum.fits')")
    until(page, "document.querySelectorAll('#cards .card').length > 0")
    assert ids(page)[0] == survey.ids[survey.query]
    assert page.is_checked("#vector-spectrum")
    page.wait_for_selector("#asked canvas.spark")
    searched(page, lambda: page.click("label[for='in-image']"))
    assert "by spectrum among image" in page.inner_text("#summary")


def test_a_dropped_cutout_finds_its_galaxy_by_image(opened, address, survey):
    page = opened(address)
    page.set_input_files("#file", survey.folder / "image.fits")
    until(page, "document.querySelector('#asked').textContent.includes('image.fits')")
    until(page, "document.querySelector('#asked img')?.naturalWidth > 1")
    assert ids(page)[0] == survey.ids[survey.query]
    assert "by image;" in page.inner_text("#summary")


def test_files_of_other_kinds_are_refused_before_or_after_they_are_sent(opened, address, survey, tmp_path):
    page = opened(address)
    (tmp_path / "notes.txt").write_text("hello")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#notice:not([hidden])")
    assert "another type" in page.inner_text("#notice")
    page.set_input_files("#file", survey.folder / "two.fits")
    until(page, "document.querySelector('#notice').textContent.includes('holds 2 objects')")
    assert all("400" in each for each in opened.complaints)
    opened.complaints.clear()


def test_a_file_that_is_dragged_onto_the_page_is_taken(opened, address, survey):
    page = opened(address)
    content = list((survey.folder / "spectrum.fits").read_bytes())
    transfer = page.evaluate_handle(
        """(content) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], "dragged.fits"));
          return transfer;
        }""",
        content,
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    assert page.is_visible("#drop")
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    assert not page.is_visible("#drop")
    until(page, "document.querySelector('#asked').textContent.includes('dragged.fits')")


@pytest.mark.parametrize("width", [1280, 400])
def test_a_point_of_the_map_is_taken_and_a_lasso_selects(opened, address, survey, width):
    page = opened(address, width)
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    left, top, size = box["x"], box["y"], box["width"]
    page.click("#lasso")
    page.mouse.move(left + 3, top + 3)
    page.mouse.down()
    for x, y in ((size - 60, 3), (size - 60, size - 3), (3, size - 3)):
        page.mouse.move(left + x, top + y, steps=3)
    page.mouse.up()
    page.wait_for_selector("#selection:not([hidden])")
    count = int(re.match(r"(\d+)", page.inner_text("#selection-count"))[1])
    assert 0 < count <= len(survey.ids)
    page.click("#selection-show")
    until(page, f"document.querySelectorAll('#cards .card').length === {count}")
    inside = set(ids(page))
    ask(page, survey.ids[survey.query])
    searched(page, lambda: page.click("#selection-among"))
    assert ids(page)
    assert set(ids(page)) <= inside
    page.locator("#map").scroll_into_view_if_needed()
    page.focus("#map")
    searched(page, lambda: page.keyboard.press("Enter"))
    assert page.inner_text("#asked h2") in survey.ids
    page.select_option("#colour", "mag_r")
    until(page, "Number(document.querySelector('#legend-high').textContent) > 5")


def test_a_click_on_the_map_searches_from_the_nearest_point(opened, address, survey):
    page = opened(address)
    box = page.locator("#map").bounding_box()
    points = page.evaluate("fetch('/api/map').then((r) => r.arrayBuffer()).then((b) => [...new Float32Array(b)])")
    across, up = points[::2], points[1::2]
    wide, high = max(across) - min(across), max(up) - min(up)
    # A flat map is stretched to at most twice its height; the larger side takes 92 % of the panel.
    factor = min(2, max(0.5, wide / high))
    unit = 0.92 * min(box["width"], box["height"]) / max(wide, factor * high)
    middle = (max(across) + min(across)) / 2, (max(up) + min(up)) / 2
    places = [
        (box["width"] / 2 + (x - middle[0]) * unit, box["height"] / 2 - (y - middle[1]) * factor * unit)
        for x, y in zip(across, up, strict=True)
    ]
    click = tuple(map(round, places[survey.query]))
    searched(page, lambda: page.mouse.click(box["x"] + click[0], box["y"] + click[1]))
    nearest = min(range(len(places)), key=lambda at: (places[at][0] - click[0]) ** 2 + (places[at][1] - click[1]) ** 2)
    assert page.inner_text("#asked h2") == survey.ids[nearest]


def test_the_list_is_exported_with_its_marks(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    page.click("#cards .card:nth-child(1) .mark-good")
    with page.expect_download() as download:
        page.click("#export-csv")
    with download.value.path().open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["object_id"] for line in lines] == ids(page)
    assert [line["mark"] for line in lines[:2]] == ["good", ""]
    with page.expect_download() as download:
        page.click("#export-json")
    assert len(json.loads(download.value.path().read_text())) == len(lines)
    assert download.value.suggested_filename == "survey-neighbours.json"


def test_everything_is_done_by_keyboard(opened, address, survey):
    page = opened(address)
    page.keyboard.press("/")
    page.keyboard.type(survey.ids[survey.query])
    searched(page, lambda: page.keyboard.press("Enter"))
    found = ids(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("g")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    assert "1 good, 1 bad" in page.inner_text("#marks")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#details[open] .plot")
    assert page.inner_text("#details-title") == found[2]
    page.keyboard.press("Escape")
    assert not page.is_visible("#details")
    searched(page, lambda: page.keyboard.press("a"))
    assert found[0] not in ids(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    wanted = ids(page)[0]
    searched(page, lambda: page.keyboard.press("s"))
    assert page.inner_text("#asked h2") == wanted
    with page.expect_download():
        page.keyboard.press("e")
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.id") == "where"
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    assert page.evaluate("document.activeElement.id") == "map"
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")


def test_the_address_brings_back_what_was_asked(opened, address, survey):
    page = opened(address)
    ask(page, survey.ids[survey.query])
    first = ids(page)
    searched(page, lambda: page.click("#cards .card:nth-child(3) .actions button:nth-child(3)"))
    assert ids(page) != first
    searched(page, page.go_back)
    assert ids(page) == first
    searched(page, page.reload)  # Cards alone would not do: empty ones stand there until the answer has come.
    assert ids(page) == first


def test_the_theme_can_be_chosen_and_is_remembered(opened, address):
    page = opened(address)
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.shade") == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.shade") == "dark"


@pytest.mark.parametrize("width", [1280, 400])
def test_records_without_pictures_are_shown_by_their_columns(opened, survey, width):
    with serving(survey.folder / "records.parquet") as address:
        page = opened(address, width)
        assert not page.is_visible("#map-panel")
        assert not page.is_visible("#file-choose")
        ask(page, "r3")
        assert len(ids(page)) == 24
        assert "mass" in page.inner_text("#cards .card")
        assert not page.is_visible("#cards .picture")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_foreign_page_reaches_nothing(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.route("http://evil.example/**", lambda route: route.fulfill(body="<h1>evil</h1>", content_type="text/html"))
    page.goto("http://evil.example/")
    answer = page.evaluate(
        """async (address) => {
          const tried = async (options) => fetch(address + 'api/search', options).then((r) => r.type, () => 'refused');
          const body = JSON.stringify({ row: 1 });
          return [
            await tried({ method: 'POST', body, headers: { 'content-type': 'application/json' } }),
            await fetch(address + 'api/about').then(() => 'read', () => 'refused'),
            await new Promise((done) => {
              const image = new Image();
              image.onload = () => done('loaded');
              image.onerror = () => done('refused');
              image.src = address + 'api/image/1';
            }),
          ];
        }""",
        address,
    )
    assert answer == ["refused", "refused", "refused"]
    context.close()
