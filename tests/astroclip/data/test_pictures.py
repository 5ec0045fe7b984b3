"""The cutouts and spectra of objects, as pages show them."""

import numpy as np
import torch

from polycli.astroclip import open_objects
from polycli.astroclip.data.rgb import to_rgb
from polycli.workflow.pictures import open_pictures


def test_an_object_is_shown_by_its_cutout_and_its_spectrum(mock_store):
    store, book = open_objects(mock_store), open_pictures([mock_store], family="astroclip")
    object_id = store.id_texts()[3]

    image = book.image({"object_id": int(object_id)})
    curve = book.curve({"object_id": object_id})

    colours = to_rgb(torch.from_numpy(store.read_images([3])[0])).numpy()
    assert image.shape == (*store.about.image.size, 3)
    # The first line of the picture is the last one of the store, as of FITS; red is z, green r, blue g.
    np.testing.assert_allclose(image[0, 5] / 255, colours[:, -1, 5], atol=0.5 / 255 + 1e-6)
    spectra = store.read_spectra([3])
    known = np.isfinite(curve.y)
    assert (known == ~spectra.mask[0]).all()
    np.testing.assert_array_equal(curve.y[known], spectra.flux[0][known].astype(float))
    np.testing.assert_array_equal(curve.x, store.wavelength)


def test_a_row_of_no_store_has_no_picture(mock_store):
    book = open_pictures([mock_store], family="astroclip")
    assert book.image({"object_id": "nobody"}) is None
    assert book.curve({"trajectory": "7"}) is None
