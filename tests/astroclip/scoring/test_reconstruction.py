"""Hidden stretches of spectra: the same error as in training, beside answers that need no model."""

import numpy as np
import pytest
import torch

from polycli.astroclip import open_objects
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.model.masking import chunk_mask
from polycli.astroclip.model.specformer import token_count
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.reconstruction import filled, fitting, score_reconstruction, seen_pixels, standardised
from polycli.astroclip.training.objectives import MaskedModelling
from polycli.errors import RecipeError
from polycli.report.bootstrap import Bootstrap

SECTION = SpectrumSection(embed_dim=12, depth=1, num_heads=2)
SEEING = SECTION.model_copy(update={"inputs": ("ivar",)})


@pytest.fixture
def encoder(spectrum_model, mock_store):
    model = load_checkpoint(spectrum_model, quiet=True).model
    return Encoder(model, open_objects(mock_store), precision="float32", batch_size=5)


def test_the_error_is_the_loss_of_the_training_where_the_first_token_is_seen(encoder):
    masking, tokens = MaskingSection(), token_count(SECTION, 7781)
    rows = np.arange(12)
    first = chunk_mask(keys_of(3, torch.from_numpy(rows)), tokens, chunks=6, chunk_length=50)[:, 0]
    rows = rows[~first.numpy()]
    scores, panels = score_reconstruction(encoder, rows, masking, Bootstrap(50, seed=3))

    spectra = encoder.store.read_spectra(rows)
    batch = {"flux": torch.from_numpy(spectra.flux), "keys": keys_of(3, torch.from_numpy(rows))}
    with torch.no_grad():
        loss, _ = MaskedModelling(encoder.model, masking).eval()(batch)
    assert scores.error["model"] == pytest.approx(float(loss), rel=1e-5)
    assert scores.hidden == pytest.approx(6 * 50 / tokens)
    assert scores.spectra == len(rows)
    assert [panel.row for panel in panels] == rows[:3].tolist()


def test_weighed_errors_are_those_of_a_training_that_weighs(make_model, mock_store):
    model = load_checkpoint(make_model("seeing", image=None, heads=None, spectrum=SEEING), quiet=True).model
    encoder = Encoder(model, open_objects(mock_store), precision="float32", batch_size=5)
    rows, masking = np.arange(12), MaskingSection(weight="ivar")

    weighed, _ = score_reconstruction(encoder, rows, masking, Bootstrap(50, seed=3))
    plain, _ = score_reconstruction(encoder, rows, MaskingSection(), Bootstrap(50, seed=3))

    spectra = encoder.store.read_spectra(rows)
    flux, ivar = torch.from_numpy(spectra.flux), torch.from_numpy(spectra.ivar)
    batch = {"flux": flux, "ivar": ivar, "keys": keys_of(3, torch.from_numpy(rows))}
    with torch.no_grad():
        loss, _ = MaskedModelling(model, masking).eval()(batch)
    assert weighed.error["model"] == pytest.approx(float(loss), rel=1e-4)
    assert weighed.masking["weight"] == "ivar"
    # Whoever knows the noiseless spectrum errs most where the noise is most, which now counts less.
    assert weighed.error["noise"] < plain.error["noise"]


def test_the_noise_is_the_inverse_of_the_weights_in_deviations_of_the_spectrum(encoder):
    flux = encoder.store.read_spectra([0])
    scores, _ = score_reconstruction(encoder, np.array([0]), MaskingSection(chunks=1, chunk_length=300), Bootstrap(50))
    deviation = flux.flux.std(ddof=1)
    typical = 1 / (np.median(flux.ivar[flux.ivar > 0]) * deviation**2)
    assert typical / 5 < scores.error["noise"] < 5 * typical
    assert scores.error["noise"] < scores.error["line"]


def test_a_pixel_is_seen_where_a_piece_that_holds_it_is():
    tokens = token_count(SECTION, 100)
    seen = torch.rand(6, tokens, generator=torch.Generator().manual_seed(0)) < 0.5
    found = seen_pixels(seen, SECTION, 100).numpy()
    for spectrum in range(6):
        for pixel in range(100):
            pieces = [piece for piece in range(tokens - 1) if piece * 10 <= pixel < piece * 10 + 20]
            assert found[spectrum, pixel] == (not pieces or any(seen[spectrum, piece + 1] for piece in pieces))


def test_a_straight_line_fills_a_straight_spectrum_exactly_and_the_mean_of_both_sides_its_middle():
    slope = torch.arange(100.0).repeat(2, 1)
    hidden = torch.zeros(2, 100, dtype=torch.bool)
    hidden[0, 40:61] = True
    hidden[1, :30] = True
    holed = torch.where(hidden, torch.nan, slope)

    line = filled(holed, hidden, 8, straight=True)
    mean = filled(holed, hidden, 8, straight=False)

    torch.testing.assert_close(line[0], slope[0])
    assert mean[0, 40:61].unique().tolist() == [50.0]
    # There is nothing on the left of the second: the mean of pixels 30 to 37 alone.
    assert line[1, :30].unique().tolist() == [33.5]
    torch.testing.assert_close(mean[1, 30:], slope[1, 30:])


def test_spectra_are_standardised_as_the_encoder_does(encoder):
    flux = torch.from_numpy(encoder.store.read_spectra([0, 1]).flux)
    tokens = encoder.model.spectrum_encoder.backbone.tokens(flux)
    pixels, deviation = standardised(flux)
    torch.testing.assert_close(tokens[:, 1, 2:], pixels[:, :20])
    assert deviation[:, 0].tolist() == pytest.approx(flux.std(dim=1).tolist())


@pytest.mark.parametrize(("tokens", "length"), [(778, 50), (600, 50), (195, 16), (13, 1)])
def test_stretches_fit_into_short_spectra(tokens, length):
    assert fitting(MaskingSection(), tokens).chunk_length == length


def test_more_hidden_stretches_than_tokens_are_refused_with_how_many_there_could_be():
    with pytest.raises(RecipeError, match=r"162 tokens have no room .*--set masking.chunks=20"):
        fitting(MaskingSection(chunks=10**9), 162)
