"""The commands `serve`, which shows embeddings on a page of this machine's own, and `search map`, its map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from polycli import console
from polycli.commands.options import SEES_LEFTOVERS, Data, Json, finish, refuse_leftovers
from polycli.paths import plain_path


def serve(
    context: typer.Context,
    embeddings: Annotated[Path, typer.Argument(metavar="EMBEDDINGS", help="what `polycli embed` wrote")],
    *,
    data: Data = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="CHECKPOINT", help="embeds files that are dropped on the page"),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="answer by the index that `search build` made, not by comparing with all")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="another address than this machine's own opens it to others")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="8765 if it is free; 0 takes any free one"),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
) -> None:
    """Show neighbours, pictures and a map of embeddings on a page in the browser."""
    refuse_leftovers(context)
    from polycli.page.serve import ServeRequest
    from polycli.page.serve import serve as serve_page

    serve_page(
        ServeRequest(
            embeddings=plain_path(embeddings),
            data=tuple(data or ()),
            checkpoint=None if checkpoint is None else plain_path(checkpoint),
            index=index,
            host=host,
            port=port,
            open_browser=open_browser,
        )
    )


def make_map(
    embeddings: Annotated[Path, typer.Argument(metavar="EMBEDDINGS", help="what `polycli embed` wrote")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="a .parquet file; NAME.map.parquet beside it")
    ] = None,
    vector: Annotated[str | None, typer.Option("--vector", metavar="KIND", help="of which vectors; the first")] = None,
    method: Annotated[
        Literal["umap", "pca"] | None,
        typer.Option("--method", help="UMAP where it is installed (extra umap), else PCA"),
    ] = None,
    neighbours: Annotated[
        int, typer.Option("--neighbours", metavar="N", min=0, help="how many of each row are written; 0 is quickest")
    ] = 15,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the map that is there")] = False,
    json: Json = False,
) -> None:
    """Compute the map that `serve` shows and embedding-atlas opens: a point for each row, and its neighbours."""
    from polycli.search.projection import make_map as make
    from polycli.search.projection import map_path
    from polycli.search.searcher import Searcher

    path = plain_path(embeddings)
    document = make(
        Searcher.open(path),
        map_path(path) if output is None else plain_path(output),
        vector=vector,
        method=method,
        neighbours=neighbours,
        overwrite=overwrite,
    )
    if not json:
        console.result(document["output"])
    finish(document, json=json)


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the command to the application."""
    app.command("serve", rich_help_panel=panel, context_settings=SEES_LEFTOVERS)(serve)
