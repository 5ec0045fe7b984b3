"""`polycli inspect` says what a store of objects holds."""

from polycli.inspection import inspect_path


def test_a_store_of_objects_names_bands_wavelengths_and_properties(mock_store):
    text = "\n".join(inspect_path(mock_store).lines)
    assert "a store for astroclip, mock" in text
    assert "grz, 64 x 64 [nanomaggy]" in text
    # DESI's grid: 7,781 pixels of 0.8 Angstrom from 3,600.
    assert "7781 pixels, 3600 to 9824 Angstrom" in text
    assert "metallicity [log10(Zsun)]" in text
    assert "[]" not in text
