"""Real coadds of DESI through the command line: to a store, to vectors, to redshifts by simulated neighbours."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
from astropy.io import fits
from astropy.table import Table

from polycli.__main__ import run as command_line


@pytest.mark.parametrize("kind", ["tiny_model", "spectrum_model"])
def test_real_coadds_are_prepared_embedded_and_predicted_on(kind, tmp_path, shared, mock_store, request):
    data, store = shared / "data/desi", tmp_path / "desi.zarr"
    model = str(request.getfixturevalue(kind))
    inputs = ["--checkpoint", model, "--data", str(store)]
    neighbours = ["--set", f"reference=[{mock_store}]"]
    lines = [
        ["prepare", "astroclip", "--source", "desi", "--input", str(data), "--output", str(store)],
        ["embed", "astroclip", *inputs, "--output", str(tmp_path / "e")],
        ["predict", "astroclip", *inputs, "--output", str(tmp_path / "p.fits"), *neighbours],
    ]
    for line in lines:
        assert command_line(line) == 0
    with fits.open(data / "redrock-4-80613-thru20210324.fits") as file:
        first, redshift = (file["REDSHIFTS"].data[name][0] for name in ("TARGETID", "Z"))
    vectors = parquet.read_table(tmp_path / "e")
    assert vectors["object_id"].to_pylist() == [first, 39633300968442591]
    np.testing.assert_array_equal(vectors["redshift"].to_numpy(), [redshift, np.nan])
    assert "image_embedding" not in vectors.column_names
    found = np.stack(vectors["spectrum_embedding"].to_pylist())
    assert np.isfinite(found).all()
    assert np.linalg.norm(found[0] - found[1]) > 0
    catalogue = Table.read(tmp_path / "p.fits")
    assert catalogue["object_id"].tolist() == [first, 39633300968442591]
    assert (catalogue["redshift_q16"] <= catalogue["redshift_q84"]).all()
    assert ((catalogue["redshift"] > 0) & (catalogue["redshift"] < 1)).all()
