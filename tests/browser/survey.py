"""Makes what the browser tests look at: `python survey.py FOLDER` writes a small survey and files to drop.

FOLDER gets mock.zarr, model/model.safetensors (untrained), survey.parquet and its map, spectrum.fits (a coadd of the
spectrum of one object, under another id), two.fits (a coadd of two), image.fits (the cutout of that object),
records.parquet (embeddings without pictures), and truth.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from astropy.io import fits

from polycli.astroclip import embed, open_objects
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.prepare import run as prepare
from polycli.astroclip.recipe.model import HeadSection, ImageSection, ModelSection, SpectrumSection
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.requests import EmbedRequest, PrepareRequest
from polycli.search.projection import make_map, map_path
from polycli.search.searcher import Searcher
from tests.astroclip.conftest import CAMERAS, coadd
from tests.search.made import write

COUNT, QUERY = 60, 7


def main(folder: Path) -> None:
    store_path, model = folder / "mock.zarr", folder / "model"
    overrides = (f"mock.objects={COUNT}", "mock.size=48")
    prepare(PrepareRequest(source="mock", inputs=(), output=store_path, overrides=overrides, workers=1))
    torch.manual_seed(0)
    section = ModelSection(
        image=ImageSection(size=48, embed_dim=12, depth=1, num_heads=2, layer_scale=0.5),
        spectrum=SpectrumSection(embed_dim=12, depth=1, num_heads=2),
        heads=HeadSection(embed_dim=16),
    )
    about = ModelDescription(
        family="astroclip", verb="pretrain", version="0", step=1, model=section.model_dump(mode="json"), trained_on={}
    )
    model.mkdir()
    write_model(model, AstroClip(section).state_dict(), about)
    weights, target = model / "model.safetensors", folder / "survey.parquet"
    embed.run(EmbedRequest(checkpoint=weights, data=(store_path,), output=target))
    searcher = Searcher.open(target)
    make_map(searcher, map_path(target), method="pca", neighbours=0)
    store = open_objects(store_path)
    write_coadd(folder / "spectrum.fits", store, [QUERY])
    write_coadd(folder / "two.fits", store, [QUERY, QUERY + 1])
    cutout = fits.PrimaryHDU(store.read_images([QUERY])[0])
    cutout.header["BANDS"] = "".join(store.bands)
    cutout.writeto(folder / "image.fits")
    draw = np.random.default_rng(0)
    records = pa.table({"record_id": [f"r{row}" for row in range(40)], "mass": draw.uniform(0, 1, 40)})
    write(folder / "records.parquet", records, {"record_embedding": draw.standard_normal((40, 8)).astype(np.float32)})
    ids = [str(name) for name in store.ids().tolist()]
    redshift = store.column("redshift").tolist()
    places = [[float(ra), float(dec)] for ra, dec in zip(store.column("ra"), store.column("dec"), strict=True)]
    truth = {"ids": ids, "redshift": redshift, "places": places, "query": QUERY}
    for kind, among in (("image", "image"), ("image", "spectrum"), ("spectrum", "spectrum")):
        query = searcher.vectors([QUERY], f"{kind}_embedding")[0]
        found = searcher.nearest(query, f"{among}_embedding", 12, without=[QUERY])
        truth[f"{kind}-{among}"] = [str(each.id) for each in found.neighbours]
    (folder / "truth.json").write_text(json.dumps(truth))


def write_coadd(path, store, rows):
    """A coadd as DESI writes it, with the spectra of some objects under the ids 1, 2, ..."""
    flux, ivar, _ = store.read_spectra(rows)
    coadd(path, ids=list(range(1, len(rows) + 1)))
    with fits.open(path) as file:
        for camera, (first, pixels) in CAMERAS.items():
            start = round((first - store.wavelength[0]) / 0.8)
            file[f"{camera}_FLUX"].data = flux[:, start : start + pixels]
            file[f"{camera}_IVAR"].data = np.maximum(ivar[:, start : start + pixels], 1e-3)
        file.writeto(path, overwrite=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
