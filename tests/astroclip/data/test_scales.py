"""How large pixels and fluxes are: what another survey explains passes, what another unit does is refused."""

from dataclasses import replace

import numpy as np
import pytest

from polycli.astroclip import embed, open_objects, predict
from polycli.astroclip import eval as evaluation
from polycli.astroclip.data.scales import REFUSED, SAID, Scale, Scales, other_scales, scales_of, scales_of_store
from polycli.astroclip.data.store import Spectra
from polycli.astroclip.model.loaded import PUBLISHED_IMAGES, PUBLISHED_SPECTRA, LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.model import PropertySection
from polycli.errors import StoreError
from polycli.requests import EmbedRequest, EvalRequest, PredictRequest


def spectra_of(flux):
    return Spectra(flux, np.ones_like(flux), np.zeros(flux.shape, np.bool_))


def test_noise_and_signal_are_those_that_numbers_were_drawn_with():
    rng = np.random.default_rng(0)
    flux = rng.normal(7.0, 0.5, (40, 4000)).astype(np.float32)
    images = rng.normal(0.0, 2.0, (40, 2, 64, 64)).astype(np.float32)
    images[:, 1] *= 3
    images[:, :, :4] = np.nan  # margins of cutouts at an edge
    found = scales_of(images, ("g", "r"), spectra_of(flux))
    assert found.spectrum.noise == pytest.approx(0.5, rel=0.02)
    assert found.spectrum.signal == pytest.approx(7.0, rel=0.01)
    assert found.image["g"].noise == pytest.approx(2.0, rel=0.02)
    assert found.image["r"].noise == pytest.approx(6.0, rel=0.02)
    assert found.image["g"].signal == pytest.approx(2.0 * 2.576, rel=0.05)  # 1 % of |x| is beyond 2.576 sigma


def test_pixels_that_are_masked_or_empty_do_not_count():
    flux = np.full((3, 100), 5.0, np.float32)
    flux[:, ::2] = 1e9
    spectra = replace(spectra_of(flux), mask=flux > 1e8)
    assert scales_of(None, (), spectra).spectrum is None  # no two neighbours are left
    assert scales_of(np.zeros((3, 1, 8, 8), np.float32), ("g",), None) == Scales()


@pytest.mark.parametrize(
    ("noise", "signal", "said", "refused"),
    [
        (1.0, 500.0, False, False),  # brighter objects, seen with the same instrument
        (6.0, 0.9, False, False),  # a shallower survey of fainter ones
        (3.0, 3.0, False, False),
        (6.0, 5.0, True, False),
        (1 / 6, 1 / 5, True, False),
        (1000.0, 1000.0, True, True),
        (1e-3, 1e-4, True, True),
    ],
)
def test_both_must_be_larger_or_both_smaller(noise, signal, said, refused):
    trained = Scales(spectrum=Scale(noise=0.1, signal=2.0))
    found = other_scales(Scales(spectrum=Scale(noise=0.1 * noise, signal=2.0 * signal)), [trained])
    assert [other.is_beyond_surveys for other in found] == [refused] * said
    assert SAID < REFUSED


def test_the_nearest_store_of_the_training_counts_and_bands_of_none_do_not():
    shallow, deep = (Scales(image={"g": Scale(noise=noise, signal=noise)}) for noise in (1.0, 0.01))
    found = Scales(image={"g": Scale(noise=0.02, signal=0.02), "i": Scale(noise=1e6, signal=1e6)})
    assert other_scales(found, [shallow]) != []
    assert other_scales(found, [shallow, deep]) == []
    assert other_scales(found, []) == []


@pytest.fixture
def loaded(make_model):
    model = load_checkpoint(make_model("small"), quiet=True)
    trained = {"mock": Scales(image={"r": Scale(noise=0.004, signal=0.08)}, spectrum=Scale(noise=0.3, signal=1.5))}
    return LoadedAstroClip(
        **{**vars(model), "image": PUBLISHED_IMAGES, "spectrum": PUBLISHED_SPECTRA, "scales": trained}
    )


def test_data_in_another_unit_are_refused_with_both_scales_and_the_keys(loaded):
    """Pixels a thousand times too large gave vectors and predictions all the same."""
    jansky = Scales(image={"r": Scale(noise=1.5e-8, signal=2.9e-7)})
    verb = replace(loaded, allow_untrained=False)
    with pytest.raises(
        StoreError, match=r"a\.zarr: pixels in band r are 2\.\d+e\+05 times smaller .* against 0\.004"
    ) as error:
        verb.check_scales(jansky, "a.zarr")
    assert "arrays.zero_point" in str(error.value.hint)
    assert "allow_untrained=true" in str(error.value.hint)


def test_what_is_allowed_or_trains_on_is_a_warning_and_the_same_unit_is_silent(loaded, capsys):
    other = Scales(spectrum=Scale(noise=300.0, signal=1500.0))
    replace(loaded, allow_untrained=True).check_scales(other, "a.zarr")
    replace(loaded, allow_untrained=None).check_scales(other, "b.zarr")
    said = capsys.readouterr().err
    assert "a.zarr: fluxes are 1e+03 times larger" in said
    assert "b.zarr: fluxes are 1e+03 times larger" in said
    loaded.check_scales(Scales(spectrum=Scale(noise=0.6, signal=1.5)), "c.zarr")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("factor", "expected"), [(1000.0, "1e+03 times smaller"), (1e-4, "1e+04 times larger")])
def test_the_hint_says_which_unit_makes_fluxes_alike(factor, expected):
    trained = Scales(spectrum=Scale(noise=0.3, signal=1.5))
    (other,) = other_scales(Scales(spectrum=Scale(noise=0.3 * factor, signal=1.5 * factor)), [trained])
    assert expected in other.hint


def test_verbs_refuse_a_store_in_another_unit(tmp_path, make_model, mock_store):
    """Each verb that applies a model looks at the scale before it does anything."""
    tiny = {"mock": {"image": {"r": {"noise": 4e-9, "signal": 8e-8}}, "spectrum": None}}
    data = {"image": PUBLISHED_IMAGES.model_dump(mode="json"), "scales": tiny}
    about = open_objects(mock_store).about
    data["image"] |= {"size": list(about.image.size)}
    model = make_model("elsewhere", said={"data": data}, spectrum=None)
    options = {"checkpoint": model, "data": (mock_store,)}
    for verb in (
        lambda: embed.run(EmbedRequest(output=tmp_path / "e.parquet", **options)),
        lambda: predict.run(
            PredictRequest(output=tmp_path / "p.parquet", overrides=(f"reference=[{mock_store}]",), **options)
        ),
        lambda: evaluation.run(EvalRequest(output=tmp_path / "s", overrides=("report=false",), **options)),
    ):
        with pytest.raises(StoreError, match=r"pixels in band r are .* times larger than those of the training"):
            verb()


def test_a_difference_is_said_once_for_each_store(tmp_path, make_model, mock_store, capsys):
    """A prediction looked at each store two or three times, and warned as often."""
    here = scales_of_store(open_objects(mock_store), open_objects(mock_store).rows()).image["r"]
    smaller = {"noise": here.noise / 8, "signal": here.signal / 8}
    data = {"image": PUBLISHED_IMAGES.model_dump(mode="json"), "scales": {"mock": {"image": {"r": smaller}}}}
    model = make_model(
        "shallow",
        said={"data": data},
        spectrum=None,
        properties=PropertySection(modalities=("image",), regression=("redshift",)),
    )
    predict.run(PredictRequest(checkpoint=model, data=(mock_store,), output=tmp_path / "p.parquet"))
    said = capsys.readouterr().err
    assert said.count("times larger than those of the training") == 1
    assert "an arrays.zero_point +2.26 magnitudes from what it was makes them alike" in " ".join(said.split())
