"""Attention of the heads: weights are a softmax that torch's own attention gives too, and lie where they are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from polycli.astroclip import eval as evaluation
from polycli.astroclip import load_model, open_objects
from polycli.astroclip.data.rgb import centre_crop
from polycli.astroclip.data.store import ObjectStore, Spectra
from polycli.astroclip.recipe.model import HeadSection, SpectrumSection
from polycli.astroclip.scoring import report
from polycli.astroclip.scoring.audits.attention import (
    Attended,
    attended_images,
    attended_spectra,
    attention_scores,
    piece_ends,
)
from polycli.astroclip.scoring.audits.attention_figures import (
    attended_sentence,
    draw_attended_images,
    draw_attended_spectra,
)
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.sources.mock.spectra import LINES
from polycli.report.bootstrap import Bootstrap
from polycli.requests import EvalRequest

ROWS = np.array([3, 5, 11])


def encoder_of(model, store):
    return Encoder(model, store, precision="float32", batch_size=2)


def by_torch(head, tokens):
    """Weights of `torch.nn.MultiheadAttention` with the head's parameters, averaged over its parts."""
    inner = head.multihead_attn
    width, inputs = head.query.shape[2], tokens.shape[2]
    other = torch.nn.MultiheadAttention(width, inner.heads, kdim=inputs, vdim=inputs, batch_first=True)
    other.load_state_dict(inner.state_dict())
    with torch.no_grad():
        query = head.query.expand(len(tokens), -1, -1)
        return other.eval()(query, tokens, tokens, average_attn_weights=True)[1][:, 0].double().numpy()


@pytest.mark.parametrize("tokens", ["patches", "all"])
def test_weights_are_those_of_another_softmax_and_add_up_to_one(make_model, mock_store, tokens):
    store = open_objects(mock_store)
    heads = HeadSection(embed_dim=16, num_heads=2, image_tokens=tokens)
    model = load_model(make_model(f"looks-at-{tokens}", heads=heads))
    encoder = encoder_of(model, store)
    spectra, images = store.read_spectra(ROWS), store.read_images(ROWS)

    of_spectra = attended_spectra(encoder, ROWS, store.target("redshift", ROWS))
    of_images = attended_images(encoder, ROWS)

    with torch.no_grad():
        pieces = model.spectrum_encoder.backbone(torch.from_numpy(spectra.flux))
        patches = model.image_encoder.tokens(model.image_input(torch.from_numpy(images)))
    expected = by_torch(model.spectrum_encoder.cross_attention, pieces)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.stack([one.weights for one in of_spectra]), expected[:, 1:], atol=1e-7)
    np.testing.assert_allclose([one.elsewhere for one in of_spectra], expected[:, 0], atol=1e-6)
    expected = by_torch(model.image_encoder.cross_attention, patches)
    found = np.stack([one.weights.ravel() for one in of_images])
    np.testing.assert_allclose(found, expected[:, -16:], atol=1e-7)
    np.testing.assert_allclose([one.elsewhere for one in of_images], 1 - expected[:, -16:].sum(axis=1), atol=1e-6)


def test_a_head_that_looks_at_one_place_has_its_weight_there(make_model, mock_store):
    """The query is turned towards the token of one piece, and of one patch."""
    store = open_objects(mock_store)
    model = load_model(make_model("looks", heads=HeadSection(embed_dim=12, num_heads=1, image_tokens="all")))
    encoder = encoder_of(model, store)
    row = ROWS[:1]
    with torch.no_grad():
        piece = model.spectrum_encoder.backbone(torch.from_numpy(store.read_spectra(row).flux))[0, 1 + 300]
        patch = model.image_encoder.tokens(model.image_input(torch.from_numpy(store.read_images(row))))[0, 1 + 4 + 2]
        for head, token in ((model.spectrum_encoder, piece), (model.image_encoder, patch)):
            weight = head.cross_attention.multihead_attn.in_proj_weight
            weight[:12], weight[12:24] = torch.eye(12), torch.eye(12)
            head.cross_attention.query[:] = 30 * token
    (spectrum,) = attended_spectra(encoder, row, store.target("redshift", row))
    (image,) = attended_images(encoder, row)

    assert int(spectrum.weights.argmax()) == 300
    # Piece 300 begins with pixel 3000 and is 20 long.
    assert spectrum.wavelength[:, 300] == pytest.approx([3600 + 0.8 * 3000, 3600 + 0.8 * 3019])
    assert np.unravel_index(int(image.weights.argmax()), image.weights.shape) == (1, 2)


def test_pieces_with_a_line_are_those_that_span_one(spectrum_model, make_model, mock_store):
    store = open_objects(mock_store)
    model = load_model(make_model("lines"))
    redshift = store.target("redshift", ROWS)
    (found, *_) = attended_spectra(encoder_of(model, store), ROWS, redshift)
    wavelength = store.wavelength
    for piece in range(len(found.weights)):
        inside = wavelength[10 * piece : 10 * piece + 20]
        assert found.expected[piece] == any(inside[0] <= line * (1 + redshift[0]) <= inside[-1] for line in LINES)
    assert found.share == pytest.approx(found.weights[found.expected].sum() / found.weights.sum())
    assert found.chance == pytest.approx(found.expected.mean())
    # A model of one stage has no head, and so no attention.
    assert attended_spectra(encoder_of(load_model(spectrum_model), store), ROWS, redshift) == []


def test_padding_behind_a_shorter_spectrum_is_no_part_of_its_wavelengths(make_model, mock_store, monkeypatch):
    store = open_objects(mock_store)
    spectrum = SpectrumSection(embed_dim=12, depth=1, num_heads=2, grid="native")
    encoder, redshift = encoder_of(load_model(make_model("own", spectrum=spectrum)), store), np.full(2, 0.1)
    whole = store.read_spectra(ROWS[:2])
    there = np.arange(whole.flux.shape[1]) < np.array([[7781], [4005]])  # which ends within a piece
    padded = Spectra(whole.flux * there, whole.ivar * there, whole.mask | ~there, whole.wavelength * there)
    alone = Spectra(*(part[1:, :4005] for part in (*whole, whole.wavelength)))
    monkeypatch.setattr(ObjectStore, "read_spectra", lambda _, rows: padded if len(rows) == 2 else alone)

    longer, found = attended_spectra(encoder, ROWS[:2], redshift)
    (expected,) = attended_spectra(encoder, ROWS[1:2], redshift[1:])

    assert len(longer.weights) == 777
    np.testing.assert_array_equal(found.wavelength, expected.wavelength)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-6)
    assert (found.chance, found.share) == pytest.approx((expected.chance, expected.share), rel=1e-4)


def test_pieces_of_which_nothing_was_measured_are_no_part_of_chance(make_model, mock_store, monkeypatch):
    store = open_objects(mock_store)
    spectrum = SpectrumSection(embed_dim=12, depth=1, num_heads=2, grid="native")
    encoder, redshift = encoder_of(load_model(make_model("own", spectrum=spectrum)), store), np.full(1, 0.1)
    whole = store.read_spectra(ROWS[:1])
    mask = np.zeros_like(whole.mask)
    mask[:, 2000:4005] = True
    monkeypatch.setattr(ObjectStore, "read_spectra", lambda _, rows: replace(whole, mask=mask))

    (found,) = attended_spectra(encoder, ROWS[:1], redshift)

    seen = np.array([not mask[0, start : start + 20].all() for start in range(0, 7761, 10)])
    assert 0 < (~seen).sum() < 201
    assert (found.weights[~seen] == 0).all()
    assert found.expected[~seen].any()
    # Pieces are equally long, so that the part of the wavelengths is that of the pieces.
    assert found.chance == pytest.approx(found.expected[seen].mean())


def test_a_spectrum_shorter_than_a_piece_is_drawn_and_has_no_share(mock_store, tmp_path):
    store, nothing = open_objects(mock_store), np.zeros(0)
    short = Attended(3, nothing, nothing, nothing > 0, np.zeros((2, 0)))
    draw_attended_spectra(tmp_path / "short.png", store, [short])
    assert (tmp_path / "short.png").is_file()
    assert (short.share, short.chance, short.elsewhere) == (None, None, 1)
    assert attention_scores({"spectrum": [short]}, Bootstrap(samples=10)) == {}


@pytest.mark.parametrize("size", [64, 61])
def test_the_overlay_lies_where_the_encoder_crops(mock_store, tmp_path, monkeypatch, size):
    drawn = []
    monkeypatch.setattr(Axes, "imshow", lambda axes, values, **given: drawn.append(given.get("extent")))
    square = Attended(3, np.full((2, 2), 0.25), np.ones((2, 2)), None, size=size)
    draw_attended_images(tmp_path / "overlay.png", open_objects(mock_store), [square])
    places = torch.arange(64.0).repeat(1, 64, 1)
    first = float(centre_crop(places, size).min())
    assert drawn[-1] == (first - 0.5, first - 0.5 + size) * 2


def test_the_templates_token_has_no_place():
    section = SpectrumSection(inputs=("ivar",), templates={})
    first, last = piece_ends(np.arange(7781.0), section, 1 + 777 + 1)
    assert (len(first), first[-1], last[-1]) == (777, 7760, 7779)


def test_scores_are_means_over_objects_of_which_lines_are_known():
    weights, extent = np.array([0.2, 0.6, 0.1]), np.array([1.0, 1.0, 2.0])
    known = Attended(0, weights, extent, np.array([False, True, False]))
    unknown = Attended(1, weights, extent, None)
    scores = attention_scores({"spectrum": [known, unknown], "image": [unknown]}, Bootstrap(samples=10))
    assert scores.keys() == {"spectrum"}
    assert (scores["spectrum"].share, scores["spectrum"].chance) == pytest.approx((0.6 / 0.9, 0.25))
    assert (scores["spectrum"].objects, scores["spectrum"].elsewhere) == (1, pytest.approx(0.1))


def test_eval_draws_the_attention_of_an_aligned_model_with_its_values(tiny_model, mock_store, tmp_path, monkeypatch):
    for figures in ("_maps", "_galleries", "_against_truth"):
        monkeypatch.setattr(report, figures, lambda *given: [])
    quick = ("bootstrap_samples=10", "neighbours=3", "properties=[redshift]", "labels=[]", "audit.attended=2")
    request = EvalRequest(checkpoint=tiny_model, data=(mock_store,), output=tmp_path / "e", overrides=quick)
    scores = evaluation.run(request)["datasets"]["mock"]["attention"]

    assert scores.keys() == {"image", "spectrum"}
    assert scores["spectrum"]["objects"] == 2
    text = (tmp_path / "e" / "report.html").read_text()
    store = open_objects(mock_store)
    rows = store.rows("test")[:2]
    found = attended_spectra(encoder_of(load_model(tiny_model), store), rows, store.target("redshift", rows))
    assert attended_sentence(store, found, kind="spectrum") in text
    assert f"{store.id_texts(rows)[0]}: " in text
    for kind in ("image", "spectrum"):
        assert (tmp_path / "e" / "figures" / f"mock.{kind}.attention.png").is_file()
