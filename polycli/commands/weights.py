"""`polycli weights ls|get|verify`: the public checkpoints. Nothing is fetched unless it is asked for by name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from polycli import console
from polycli.commands.completion import published
from polycli.commands.options import Json
from polycli.errors import UserError
from polycli.families import PublishedWeights, all_families
from polycli.paths import plain_path
from polycli.report.screen import columns


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the group to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, fetch and check public checkpoints.")
    group.callback()(_weights)
    for name, command in (("ls", ls), ("get", get), ("verify", verify)):
        group.command(name)(command)
    app.add_typer(group, name="weights", rich_help_panel=panel)


def _weights() -> None:
    """List, fetch and check the public checkpoints that polycli knows."""


def ls(*, json: Json = False) -> None:
    """List the public checkpoints that polycli knows. Nothing is downloaded."""
    known = _known()
    if json:
        console.result(
            [
                {
                    "name": weights.name,
                    "short_name": weights.short_name,
                    "family": family,
                    "does": weights.does,
                    "project": weights.project,
                    "address": weights.address,
                    "repository": weights.repository,
                    "licence": weights.licence,
                    "parameters": weights.parameters,
                    "sha256": weights.sha256,
                    "remark": weights.remark,
                }
                for family, weights in known
            ]
        )
        return
    header = ("name", "family", "parameters", "licence", "SHA-256", "address", "what it does")
    rows = [
        (w.name, family, w.size, w.licence, w.sha256 or "none stated", w.address or "not published", w.does)
        for family, w in known
    ]
    console.result(columns(rows, header))
    for _, weights in known:
        if weights.remark:
            console.say(f"{weights.name}: {weights.remark}")
    console.say(
        "polycli weights get NAME fetches those on huggingface.co; polycli weights verify FILE checks a download"
    )


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="as weights ls has it", autocompletion=published)],
    *,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="the folder that it goes to")] = Path(
        "weights"
    ),
    file: Annotated[
        str | None, typer.Option("--file", metavar="NAME", help="which file, where the repository has several")
    ] = None,
    json: Json = False,
) -> None:
    """Fetch a public checkpoint by its name: a broken download goes on, and the hash is checked."""
    found = _find(name)
    folder = plain_path(output)
    if found.address is None:
        raise UserError(f"{found.name}: the project published no weights", hint=found.project)
    if found.repository is None:
        raise UserError(
            f"{found.name} lies in a folder that is opened in a browser, not fetched by name: {found.address}",
            hint=f"download the file of {found.name} there; then: polycli weights verify FILE",
        )
    from polycli.checkpoints.fetching import fetch

    fetched = fetch(found.repository, folder, address=found.address, file=file)
    said = "as the hub describes it" if fetched.verified else "the hub states none to compare with"
    console.say(f"{found.name}: SHA-256 {fetched.sha256}, {said}; licence {found.licence}")
    if json:
        console.result(
            {
                "name": found.name,
                "path": str(fetched.path),
                "sha256": fetched.sha256,
                "verified": fetched.verified,
                "commit": fetched.commit,
            }
        )
    else:
        console.result(str(fetched.path))


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a file of weights that was downloaded")],
    *,
    json: Json = False,
) -> None:
    """Check a downloaded checkpoint: whole, finite, which model it makes, and its hash where one is known."""
    from polycli.inspection.downloads import check_download

    known = [(family, weights) for family, weights in _known() if weights.sha256 is not None or weights.parameters]
    found = check_download(plain_path(file), known)
    console.result(found.document() if json else found.text())


def _known() -> list[tuple[str, PublishedWeights]]:
    return [(family.name, weights) for family in all_families() for weights in family.weights]


def _find(name: str) -> PublishedWeights:
    wanted = name.lower().replace(" ", "-").replace("_", "-")
    known = {weights.short_name: weights for _, weights in _known()}
    if wanted in known:
        return known[wanted]
    ends = [weights for short, weights in known.items() if short.endswith(f"-{wanted}")]
    if len(ends) == 1:
        return ends[0]
    near = difflib.get_close_matches(wanted, known, n=2, cutoff=0.4)
    raise UserError(
        f"there are no published weights {name!r}: there are {', '.join(known)}",
        hint=f"did you mean {' or '.join(near)}?" if near else "polycli weights ls says what each is for",
    )
