"""Takes the documentation's pictures of reports and the site: `python pictures.py REPORTS SITE OUTPUT`.

REPORTS has a folder for each family with the report of a demo (`make pictures` makes them), SITE is the built site.
Each picture in OUTPUT is a montage by the browser itself: one page 1,280, 800 and 400 pixels wide, light above, dark
below.
"""

import base64
import io
import shutil
import sys
from pathlib import Path

from conftest import CHROMIUM, FLAGS
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

WIDTHS = (1280, 800, 400)
SCHEMES = ("light", "dark")
HEIGHT = 1000
#: Milliseconds for a page on a busy machine.
PATIENCE = 300_000
#: Of the size that they were taken in.
SCALE = 0.4
#: Enough for pages of text and plots, and a fifth of the bytes.
COLOURS = 96


def shot(browser: Browser, page: Path, width: int, scheme: str) -> str:
    """The top of a page, as an address with the picture in it."""
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(page.as_uri())
    opened.wait_for_timeout(500)
    taken = opened.screenshot()
    context.close()
    return f"data:image/png;base64,{base64.b64encode(taken).decode()}"


def montage(browser: Browser, page: Path, output: Path) -> None:
    """Write all looks of one page into one picture."""
    rows = "".join(
        "<div>"
        + "".join(
            f'<img src="{shot(browser, page, width, scheme)}" style="height: {HEIGHT * SCALE}px">' for width in WIDTHS
        )
        + "</div>"
        for scheme in SCHEMES
    )
    style = "body { margin: 0; background: #888 } div { white-space: nowrap; padding: 8px } img { margin-right: 8px }"
    context = browser.new_context(viewport={"width": 1040, "height": 100})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.set_content(f"<style>{style}</style>{rows}")
    taken = Image.open(io.BytesIO(opened.screenshot(full_page=True)))
    context.close()
    taken.convert("RGB").quantize(COLOURS).save(output, optimize=True)


def main(reports: Path, site: Path, output: Path) -> None:
    chromium = next(filter(None, map(shutil.which, CHROMIUM)))
    pages = {f"looks-{family}": reports / family / "report" / "report.html" for family in ("mpp", "xval", "astroclip")}
    pages["looks-site"] = site / "index.html"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, page in pages.items():
            montage(browser, page.absolute(), output / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
