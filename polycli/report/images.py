"""Images as PNG bytes, quickly: thumbnails for pages, without the machinery of figures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray


def png(image: NDArray[np.uint8], *, size: int | None = None) -> bytes:
    """A PNG file of (height, width, 3) red, green and blue, made smaller where its longer side exceeds `size` pixels.

    >>> png(np.zeros((4, 4, 3), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    picture = Image.fromarray(image)
    if size is not None and max(picture.size) > size:
        picture.thumbnail((size, size))
    written = BytesIO()
    # Cutouts are mostly noise, which a higher level packs no better, only more slowly.
    picture.save(written, "PNG", compress_level=3)
    return written.getvalue()
