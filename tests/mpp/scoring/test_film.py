"""A film has a frame for each step, shows the truth and the model on one scale, and survives infinities."""

import numpy as np
from PIL import Image

from polycli.mpp.scoring.film import write_film


def test_a_film_has_a_frame_for_each_step_and_a_row_for_each_field(tmp_path):
    truth = np.random.default_rng(0).normal(size=(7, 2, 16, 24)).astype(np.float32)
    prediction = truth.copy()
    prediction[3, 1, 4, 4] = np.inf
    gif, *_ = write_film(
        tmp_path, "swe.film", fields=["height", "speed"], steps=range(1, 8), truth=truth, prediction=prediction
    )
    with Image.open(gif) as film:
        assert film.n_frames == 7
        film.seek(0)
        first = np.asarray(film.convert("RGB"), dtype=int)
    # A panel is 24 points of 7 pixels high, 16 wide; where model and truth agree, both panels are equal.
    width = 16 * 7
    left, right = (first[28 : 28 + 24 * 7, start : start + width] for start in (4, 4 + width + 4))
    assert np.array_equal(left, right)
    assert len(np.unique(left.reshape(-1, 3), axis=0)) > 20
