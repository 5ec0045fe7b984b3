"""How often a spectrum in a FITS coadd, which is in no store, finds its galaxy among images by `polycli search`.

    polycli demo astroclip --output demo
    python benchmarks/coadd_retrieval.py --checkpoint demo/run --data demo/mock.zarr

Test objects are embedded; each one's spectrum is written into a DESI coadd under another id, read by the search, and
looked for among the images of all test objects, and among their spectra. Beside it stands what `eval` says.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _record import add_option, finish
from astropy.io import fits
from numpy.typing import NDArray

from polycli.astroclip import embed, open_objects
from polycli.astroclip import eval as evaluation
from polycli.astroclip.data.store import ObjectStore
from polycli.report.table import Table
from polycli.requests import EmbedRequest, EvalRequest, SearchRequest
from polycli.search.encode import FileEncoder
from polycli.search.find import run as search
from polycli.search.searcher import Searcher

CAMERAS = {"B": slice(0, 2751), "R": slice(2700, 5026), "Z": slice(4900, 7781)}  # of the grid 3600 + 0.8 i A
#: Ids in the coadds are those of the store and this: nothing can be found by them.
OTHER_IDS = 10**12
SPECTRA_PER_FILE = 100


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measured(options.checkpoint, options.data, Path(scratch))
    finish(options, found, table(found))


def measured(checkpoint: Path, data: Path, scratch: Path) -> dict[str, Any]:
    """Ranks by search, and recall by `eval`."""
    output = scratch / "test.parquet"
    embed.run(EmbedRequest(checkpoint=checkpoint, data=(data,), output=output, split="test", json=True))
    evaluation.run(
        EvalRequest(
            checkpoint=checkpoint,
            data=(data,),
            output=scratch / "scores",
            overrides=("report=false", "bootstrap_samples=10"),
            json=True,
        )
    )
    scores = json.loads((scratch / "scores" / "scores.json").read_text(encoding="utf-8"))
    retrieval = next(iter(scores["datasets"].values()))["retrieval"]
    said = retrieval["spectrum_to_image"]
    searcher, store = Searcher.open(output), open_objects(data)
    names = [int(name) for name in searcher.ids(range(searcher.rows))]
    place = {int(name): row for row, name in enumerate(store.ids(np.arange(len(store))).tolist())}
    files = coadds(store, np.array([place[name] for name in names]), scratch)
    objects = [each for file in files for each in FileEncoder(searcher, checkpoint).objects(file)]
    of_file = {int(each.id) - OTHER_IDS: each.vectors["spectrum"] for each in objects}
    queries = np.stack([of_file[name] for name in names])
    # One of them as a user asks for it.
    one = search(
        SearchRequest(
            embeddings=output,
            file=files[0],
            object=str(names[0] + OTHER_IDS),
            among="image",
            checkpoint=checkpoint,
            json=True,
        )
    )
    ranks = {kind: ranked(searcher, queries, kind) for kind in ("image", "spectrum")}
    stored = searcher.vectors(range(searcher.rows), searcher.vector_column("spectrum"))
    refuse_other_recall(ranks["image"][0], said["recall_at"])
    first = [each["row"] for each in one["neighbours"]]
    assert first == ranks["image"][1][0][: len(first)].tolist()  # Both are the same search.
    return {
        "objects": len(names),
        "ranks": {kind: places.tolist() for kind, (places, _) in ranks.items()},
        # What is embedded of a file, beside what is embedded of the store: objects whose rank is another one.
        "ranks_unlike_the_stores": {
            kind: int((ranked(searcher, stored, kind)[0] != places).sum()) for kind, (places, _) in ranks.items()
        },
        "largest_difference": float(np.abs(queries - stored).max() / np.abs(stored).max()),
        "eval": {"image": said},
        "shared_truth": retrieval.get("shared_truth"),
    }


def refuse_other_recall(places: NDArray[np.int64], said: dict[str, Any]) -> None:
    """End where the search does not find what `eval` finds of the same objects."""
    for most, recall in said.items():
        here = float((places <= int(most)).mean())
        if abs(here - recall["recall"]) > 0.5 / len(places):
            raise SystemExit(f"recall at {most} is {here:.4f} by search and {recall['recall']:.4f} by eval")


def coadds(store: ObjectStore, rows: NDArray[np.int64], folder: Path) -> list[Path]:
    """Spectra of some objects as DESI writes them, under other ids."""
    files = []
    for first in range(0, len(rows), SPECTRA_PER_FILE):
        some = rows[first : first + SPECTRA_PER_FILE]
        spectra = store.read_spectra(some)
        # Where two cameras overlap, what they saw adds up: each has half of the inverse variance.
        seen_by = np.zeros(store.wavelength.size, np.float32)
        for pixels in CAMERAS.values():
            seen_by[pixels] += 1
        ivar = spectra.ivar / seen_by
        targets = [
            fits.Column("TARGETID", "K", array=store.ids(some) + OTHER_IDS),
            fits.Column("TARGET_RA", "D", array=np.zeros(len(some))),
            fits.Column("TARGET_DEC", "D", array=np.zeros(len(some))),
            fits.Column("COADD_FIBERSTATUS", "J", array=np.zeros(len(some), np.int32)),
            fits.Column("OBJTYPE", "3A", array=["TGT"] * len(some)),
        ]
        hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(targets, name="FIBERMAP")]
        for camera, pixels in CAMERAS.items():
            hdus.append(fits.ImageHDU(store.wavelength[pixels], name=f"{camera}_WAVELENGTH"))
            hdus.append(fits.ImageHDU(spectra.flux[:, pixels], name=f"{camera}_FLUX"))
            hdus.append(fits.ImageHDU(ivar[:, pixels], name=f"{camera}_IVAR"))
            hdus.append(fits.ImageHDU(spectra.mask[:, pixels].astype(np.uint32), name=f"{camera}_MASK"))
        files.append(folder / f"coadd-main-dark-{first // SPECTRA_PER_FILE}.fits")
        fits.HDUList(hdus).writeto(files[-1])
    return files


def ranked(searcher: Searcher, queries: NDArray[np.float32], kind: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rank of each query's own object, from 1, and the rows in their order."""
    rows = searcher.nearest_of_many(queries, searcher.vector_column(kind), searcher.rows).rows
    return (rows == np.arange(len(rows))[:, None]).argmax(axis=1) + 1, rows


def table(found: dict[str, Any]) -> Table:
    """What is quoted."""
    rows = []
    for kind, ranks in found["ranks"].items():
        places = np.array(ranks)
        said = found["eval"].get(kind)
        rows.append(
            (
                f"spectrum among {'images' if kind == 'image' else 'spectra'}",
                f"{len(places):,}",
                *(f"{(places <= most).mean():.3f}" for most in (1, 10, 100)),
                f"{np.median(places):g}",
                f"{found['ranks_unlike_the_stores'][kind]:,}",
                "-" if said is None else f"{said['recall_at']['10']['recall']:.3f}",
                f"{min(10 / len(places), 1):.3f}",
            )
        )
    return Table(
        "Spectra in FITS coadds that are in no store: the rank of their own object",
        (
            "looked for",
            "test objects",
            "first",
            "among 10",
            "among 100",
            "median rank",
            "ranks unlike the store's",
            "recall at 10 by eval",
            "chance of 10",
        ),
        rows,
        caption="Each spectrum stands in a coadd under another id; `search --spectrum COADD --object ID --in image`.",
        labels=1,
    )


if __name__ == "__main__":
    main()
