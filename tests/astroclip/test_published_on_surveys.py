"""Published weights on four-band cutouts and on real coadds of DESI's early release: the lines of the docs."""

import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.astroclip import load_model, open_objects
from tests.astroclip.sources.test_cutouts import cutout

PAGE = Path(__file__).parents[2] / "docs/astroclip.md"
#: What the tensors of the small reference do not tell; the published file has other numbers, which are the defaults.
HEADS = {"vit_heads": 4, "spectrum_heads": 4, "n_head": 4}


def lines():
    """The commands of the section, as a reader types them."""
    section = PAGE.read_text().split("### A published file on other releases\n")[1].split("\n### ")[0]
    return [shlex.split(line.removeprefix("$ polycli ")) for line in section.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def session(tmp_path_factory, shared):
    """The section's commands, run on the reference weights, in a folder of their own."""
    folder = tmp_path_factory.mktemp("published")
    for number in range(5):
        cutout(folder / "cutouts" / f"{number}.fits", bands="griz", size=160, seed=number, BUNIT="nanomaggy")
    (folder / "coadds").symlink_to(shared / "data/desi")
    (folder / "astroclip.ckpt").symlink_to(shared / "parity/astroclip.ckpt")
    sizes = [word for name, value in HEADS.items() for word in ("--set", f"model.{name}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in lines():
            assert command_line([*line, *(sizes if line[0] == "embed" else [])]) == 0, line
    return folder


def vectors(path, name):
    return np.stack(parquet.read_table(path)[name].to_pylist())


def test_the_section_goes_from_cutouts_and_coadds_to_neighbours():
    assert [line[0] for line in lines()] == ["prepare", "prepare", "embed", "embed", "search"]


def test_of_four_bands_the_three_that_the_weights_know_are_seen(session, shared):
    store = open_objects(session / "dr10.zarr")
    assert store.bands == ("g", "r", "i", "z")
    model = load_model(shared / "parity/astroclip.ckpt", **HEADS)
    images = np.stack([store.read_images([row])[0] for row in range(len(store))])
    with torch.no_grad():
        expected = model.embed_image(model.image_input(torch.from_numpy(images[:, [0, 1, 3]]))).numpy()
        wrong = model.embed_image(model.image_input(torch.from_numpy(images[:, [0, 1, 2]]))).numpy()
    found = vectors(session / "dr10-vectors.parquet", "image_embedding")

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - wrong).max() > 1e-3


def test_spectra_of_the_early_release_have_the_vectors_of_the_network_itself(session, shared):
    store = open_objects(session / "edr.zarr")
    model = load_model(shared / "parity/astroclip.ckpt", **HEADS)
    with torch.no_grad():
        expected = model.embed_spectrum(torch.from_numpy(store.read_spectra(range(len(store))).flux)).numpy()

    np.testing.assert_allclose(
        vectors(session / "edr-vectors.parquet", "spectrum_embedding"), expected, rtol=1e-4, atol=1e-5
    )


def test_the_images_nearest_to_a_spectrum_are_those_of_an_own_count(session):
    images = vectors(session / "dr10-vectors.parquet", "image_embedding").astype(np.float64)
    spectrum = vectors(session / "edr-vectors.parquet", "spectrum_embedding")[0].astype(np.float64)
    cosines = images @ spectrum / np.linalg.norm(images, axis=1) / np.linalg.norm(spectrum)
    found = parquet.read_table(session / "images.parquet")

    np.testing.assert_allclose(found["similarity"].to_numpy(), np.sort(cosines)[::-1], atol=1e-5)
    ids = parquet.read_table(session / "dr10-vectors.parquet")["object_id"].to_pylist()
    assert found["object_id"].to_pylist() == [ids[row] for row in np.argsort(-cosines)]
