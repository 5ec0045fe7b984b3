"""Pictures of rows of embeddings, from the stores that they were made of."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from polycli.errors import UserError
from polycli.report.images import png
from polycli.workflow.pictures import Curve, PictureBook, open_pictures


def test_a_book_without_stores_shows_nothing():
    assert PictureBook().image({"object_id": 1}) is None
    assert not PictureBook().has_images


def test_a_family_without_pictures_says_so():
    with pytest.raises(UserError, match="xval has no pictures"):
        open_pictures(["records.zarr"], family="xval")


def test_a_long_curve_is_shortened_to_means_of_what_is_known():
    y = np.arange(10.0)
    y[4:6] = np.nan
    short = Curve(np.arange(10.0), y, "x", "y").shortened(5)
    np.testing.assert_array_equal(short.x, [0.5, 2.5, 4.5, 6.5, 8.5])
    np.testing.assert_array_equal(short.y, [0.5, 2.5, np.nan, 6.5, 8.5])


def test_a_png_has_the_colours_of_the_image_and_at_most_the_size():
    image = np.random.default_rng(0).integers(0, 255, (20, 10, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(png(image)))), image)
    assert Image.open(BytesIO(png(image, size=8))).size == (4, 8)
