"""Checksums of FITS files hold what they promise."""

import gzip
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from polycli.errors import SourceError
from polycli.files.fits_files import open_fits


@pytest.fixture
def file(tmp_path):
    """A file of three HDUs with CHECKSUM and DATASUM."""
    rng = np.random.default_rng(0)
    images = [fits.ImageHDU(rng.standard_normal((5, 40)).astype("f4"), name=name) for name in "AB"]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits", checksum=True)
    return tmp_path / "a.fits"


def test_a_whole_file_is_read_alike_with_and_without_a_look_at_its_checksums(file):
    with open_fits(file) as plain, open_fits(file, checksums=True) as checked:
        assert np.array_equal(plain["B"].data, checked["B"].data)


def test_every_flipped_bit_of_the_numbers_is_found(file):
    whole = file.read_bytes()
    with fits.open(file) as units:
        places = [units[name].fileinfo() for name in "AB"]
    rng = np.random.default_rng(1)
    for place in places:
        for offset in rng.integers(0, 5 * 40 * 4, size=10):
            damaged = bytearray(whole)
            damaged[place["datLoc"] + int(offset)] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            with pytest.raises(SourceError, match="verification failed"), open_fits(file, checksums=True):
                pass


def test_a_changed_card_is_found(file):
    file.write_bytes(file.read_bytes().replace(b"EXTNAME = 'A       '", b"EXTNAME = 'C       '"))
    with pytest.raises(SourceError, match="Checksum verification failed"), open_fits(file, checksums=True):
        pass


def test_a_file_that_ends_early_is_refused(file):
    file.write_bytes(file.read_bytes()[:-2880])
    with pytest.raises(SourceError, match="truncated or damaged"), open_fits(file) as units:
        [unit.data for unit in units]


def test_an_image_that_claims_terabytes_is_refused(tmp_path):
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 10**6), ("NAXIS2", 10**6)])
    (tmp_path / "a.fits").write_bytes(header.tostring().encode())
    with pytest.raises(SourceError, match="truncated"), open_fits(tmp_path / "a.fits") as units:
        [unit.data for unit in units]


def test_a_packed_file_with_a_changed_byte_gives_no_other_numbers(file, tmp_path):
    packed, path = gzip.compress(file.read_bytes(), mtime=0), tmp_path / "b.fits.gz"
    with open_fits(file) as units:
        expected = units["B"].data
    refusals: list[str] = []
    for place in range(20, len(packed), len(packed) // 20):
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with open_fits(path, checksums=True) as units:
                # Blanks behind the last card of a header, and the packing's own checksum, change nothing.
                assert np.array_equal(units["B"].data, expected)
        except SourceError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert all("truncated or damaged" in refusal for refusal in refusals)


def test_opening_a_file_reads_its_headers_alone(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((512, 1024)))]).writeto(path)
    with open_fits(path):
        pass
    tracemalloc.start()
    with open_fits(path) as file:
        assert len(file) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2**20 < path.stat().st_size


def test_a_format_of_columns_that_nobody_writes_is_damage(tmp_path):
    path = tmp_path / "a.fits"
    fits.BinTableHDU.from_columns([fits.Column("X", "3E", array=np.zeros((2, 3)))]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"TFORM1  = '3E      '", b"TFORM1  = '3?      '"))

    with pytest.raises(SourceError, match="truncated or damaged"), open_fits(path) as file:
        assert file[1].columns


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("card", "damage"),
    [
        (b"XTENSION= 'IMAGE   '", b"XTENS@ON= 'IM\0GE   '"),
        (b"NAXIS1  =                   40", b"NAXIS1  =                 -288"),
    ],
    ids=["a header that cannot be read", "a negative length"],
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_headers_that_would_be_found_again_without_end_are_refused(file, tmp_path, card, damage, packed):
    """astropy goes on where an HDU says that it ends: with a negative size that is before its own header."""
    content = file.read_bytes()
    assert card in content
    content = content.replace(card, damage, 1)
    path = tmp_path / ("b.fits.gz" if packed else "b.fits")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)

    with (
        pytest.raises(SourceError, match=r"damaged: the header of HDU 1.* (cannot be read|claims -\d+ bytes)"),
        open_fits(path),
    ):
        pass
