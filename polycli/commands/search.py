"""`polycli search EMBEDDINGS`, and the commands below it; what is not the name of one of them is EMBEDDINGS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from polycli.commands.options import SEES_LEFTOVERS, Data, Json, finish, refuse_leftovers
from polycli.commands.pages import make_map
from polycli.paths import expand_paths, plain_path
from polycli.requests import SearchRequest

#: The command that is meant where none is named.
DEFAULT = "find"


class SearchGroup(TyperGroup):
    """Takes `search EMBEDDINGS ...` for `search find EMBEDDINGS ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # Typer's own, private types.
        """Put the name of the default command before words that begin with no other."""
        if args and args[0] not in self.commands:
            args = [DEFAULT, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


class FindCommand(TyperCommand):
    """The default command, whose usage is `polycli search EMBEDDINGS`."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Writes how it is called, without the name that nobody need write."""
        called = ctx.command_path.removesuffix(f" {DEFAULT}")
        formatter.write_usage(called, " ".join(self.collect_usage_pieces(ctx)))


def application() -> typer.Typer:
    """The commands of search."""
    app = typer.Typer(cls=SearchGroup, no_args_is_help=True, rich_markup_mode=None)
    app.callback()(_search)
    app.command(DEFAULT, cls=FindCommand, context_settings=SEES_LEFTOVERS)(find)
    app.command("map")(make_map)
    app.command("build")(build)
    return app


def _search() -> None:
    """Find the nearest neighbours in embeddings."""


def find(
    context: typer.Context,
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help="a folder, .parquet, .zarr or .hats that `embed` wrote")
    ],
    *,
    id: Annotated[str | None, typer.Option("--id", metavar="ID", help="look for what is like this row")] = None,  # noqa: A002
    position: Annotated[
        str | None,
        typer.Option("--position", metavar="RA,DEC", help="like the object nearest to a position, in degrees"),
    ] = None,
    radius: Annotated[
        str,
        typer.Option("--radius", metavar="ANGLE", help="how far it may be from the position: arcsec, 2arcmin, 0.1deg"),
    ] = "10",
    row: Annotated[
        str | None,
        typer.Option(
            "--row", metavar="FILE:N", help="like row N of other embeddings, or of a table by its id or position"
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="like what a file holds; needs --checkpoint")
    ] = None,
    image: Annotated[Path | None, typer.Option("--image", metavar="FILE", help="like the image in a file")] = None,
    spectrum: Annotated[
        Path | None, typer.Option("--spectrum", metavar="FILE", help="like the spectrum in a file")
    ] = None,
    which: Annotated[
        str | None, typer.Option("--object", metavar="ID", help="which object of a file of several")
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="like all of these rows; can be repeated")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option("--unlike", metavar="ID", help="and unlike these; can be repeated")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option("--examples", metavar="CSV", help="ids, and in a second column good or bad")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="CHECKPOINT", help="the model that made the embeddings")
    ] = None,
    vector: Annotated[
        str | None, typer.Option("--vector", "--from", metavar="KIND", help="the query's vector, such as image")
    ] = None,
    among: Annotated[
        str | None, typer.Option("--in", "--to", metavar="KIND", help="the vectors to search, such as spectrum")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", metavar="N", min=1, max=100_000, help="how many neighbours")] = 10,
    cone: Annotated[
        str | None,
        typer.Option("--cone", metavar="RA,DEC,ANGLE", help="only within a radius (arcsec, 0.1deg) of a position"),
    ] = None,
    box: Annotated[
        str | None, typer.Option("--box", metavar="RA1,RA2,DEC1,DEC2", help="only between these, in degrees")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="CONDITION", help="only rows such as 'redshift < 0.1 and mag_r < 19'"),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index/--exact", help="ask the index of `search build`, or compare with all vectors")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="write .json, .csv, .parquet, .vot or .html")
    ] = None,
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="replace neighbours that are there")] = False,
    json: Json = False,
) -> None:
    """Find the rows whose vectors are most like a query's."""
    refuse_leftovers(context)
    from polycli.search.find import run
    from polycli.search.sky import parse_radius

    files = {"image": image, "spectrum": spectrum}
    kind = next((name for name, path in files.items() if path is not None), None)
    request = SearchRequest(
        embeddings=plain_path(embeddings),
        id=id,
        position=position,
        radius=parse_radius(radius) * 3600,
        row=row,
        file=one_file(file, image, spectrum),
        object=which,
        like=tuple(like or ()),
        unlike=tuple(unlike or ()),
        examples=None if examples is None else plain_path(examples),
        checkpoint=None if checkpoint is None else plain_path(checkpoint),
        vector=vector or kind,
        among=among,
        k=k,
        cone=cone,
        box=box,
        where=where,
        index=index,
        output=None if output is None else plain_path(output),
        data=expand_paths(data or ()),
        force=force,
        json=json,
    )
    finish(run(request), json=json)


def build(
    embeddings: Annotated[
        Path, typer.Argument(metavar="EMBEDDINGS", help="a folder, .parquet, .zarr or .hats that `embed` wrote")
    ],
    *,
    vector: Annotated[
        list[str] | None, typer.Option("--vector", metavar="KIND", help="of these vectors alone; can be repeated")
    ] = None,
    recall: Annotated[
        float, typer.Option("--recall", metavar="SHARE", min=0, max=1, help="of the ten nearest that it shall find")
    ] = 0.98,
    lists: Annotated[
        int | None, typer.Option("--lists", metavar="N", min=1, max=2**20, help="about the root of the rows if absent")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="build anew what is up to date")] = False,
    json: Json = False,
) -> None:
    """Build an index for searches among many vectors, and say what share of the nearest it finds."""
    from polycli.console import result
    from polycli.search.building import build as build_index
    from polycli.search.searcher import Searcher

    searcher = Searcher.open(plain_path(embeddings))
    columns = [searcher.vector_column(kind) for kind in vector or searcher.kinds]
    made = [build_index(searcher, column, recall=recall, lists=lists, force=force) for column in columns]
    result(made if json else "\n".join(str(each["index"]) for each in made))


def one_file(*files: Path | None) -> Path | None:
    """The file that is given, under whichever option.

    Raises:
        UserError: several are.
    """
    from polycli.errors import UserError

    given = [plain_path(path) for path in files if path is not None]
    if len(given) > 1:
        raise UserError("--file, --image and --spectrum name one file, and several are given")
    return given[0] if given else None
