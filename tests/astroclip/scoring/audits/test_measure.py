"""Audits of vectors: leaks are found and named, clean surveys are silent, and each number is recomputed."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

from polycli.astroclip import eval as evaluation
from polycli.astroclip import open_objects
from polycli.astroclip.data.photometry import image_features, with_colours
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring import report
from polycli.astroclip.scoring.audits.measure import audit
from polycli.astroclip.scoring.measure import Side
from polycli.errors import StoreError
from polycli.report.bootstrap import Bootstrap
from polycli.requests import EvalRequest

SETTINGS = EvalSettings(family="astroclip", verb="eval", neighbours=10)
NAMES = {"psf": "psf_fwhm", "depth": "noise", "sky": "sky"}


def seen(store, rows):
    """What an encoder that misses nothing would say of images: shapes and fluxes, and the sky and noise at the rim."""
    pixels = store.read_images(rows)
    rim = pixels[:, :, :4].reshape(*pixels.shape[:2], -1)
    return np.hstack([image_features(pixels), np.median(rim, axis=2), np.log(rim.std(axis=2))]).astype(np.float32)


def sides_of(store):
    """Training and test objects, whose spectra say the redshift, the magnitudes and noise of their own."""
    sides = []
    for split in ("train", "test"):
        rows = store.rows(split)
        noise = np.random.default_rng(len(rows)).standard_normal((len(rows), 3))
        magnitudes = store.magnitudes(rows)
        spectrum = np.column_stack([10 * store.target("redshift", rows), magnitudes, noise])
        image = StandardScaler().fit_transform(seen(store, rows))
        inputs = {"image": image, "spectrum": np.hstack([spectrum, image[:, 7:]]).astype(np.float32)}
        sides.append(Side(rows, inputs | {"photometry": with_colours(magnitudes)}))
    return sides


def audited(store, *, aligned=False):
    reference, test = sides_of(store)
    return audit(store, reference, test, SETTINGS, Bootstrap(samples=20), aligned=aligned), reference, test


def test_a_quantity_that_tells_the_redshift_is_found_and_named(survey):
    seed = int(np.random.default_rng().integers(1000))
    kind = ("psf", "depth", "sky")[seed % 3]
    found, *_ = audited(open_objects(survey(kind, seed=seed)))
    said = f"{kind}, seed {seed}: {found.verdicts}"
    assert found.verdicts, said
    assert found.verdicts[0].startswith(f"leak found: {NAMES[kind]} explains "), said
    assert "image vectors tell it" in found.verdicts[0], said
    assert "image" in found.nuisances[NAMES[kind]].leaks, said


def test_a_clean_survey_is_silent(clean):
    found, *_ = audited(clean)
    assert found.verdicts == []
    assert list(found.nuisances) == ["magnitude", "psf_fwhm", "noise", "sky", "all"]
    # The vectors do know how objects were observed; that alone is no leak.
    assert found.nuisances["sky"].told["image"].p <= 0.01
    # Magnitudes tell redshifts, as they may.
    assert found.nuisances["magnitude"].alone.r2 > 0.2
    assert found.nuisances["magnitude"].leaks == []


def test_every_number_is_that_of_scikit_learn(clean):
    found, reference, test = audited(clean, aligned=True)
    target = {side: clean.target("redshift", one.rows) for side, one in (("train", reference), ("test", test))}
    columns = ("psf_fwhm_g", "psf_fwhm_r", "psf_fwhm_z")
    train, asked = (np.stack([clean.target(name, one.rows) for name in columns], axis=1) for one in (reference, test))
    scores = found.nuisances["psf_fwhm"]
    assert scores.columns == list(columns)

    scaler = StandardScaler().fit(train)
    trees = HistGradientBoostingRegressor(min_samples_leaf=20, random_state=0).fit(
        scaler.transform(train), (target["train"] - target["train"].mean()) / target["train"].std()
    )
    said = [
        trees.predict(scaler.transform(one)) * target["train"].std() + target["train"].mean() for one in (train, asked)
    ]
    assert scores.alone.r2 == pytest.approx(r2_score(target["test"], said[1]))

    def neighbours(before, values, after):
        scale = StandardScaler().fit(before)
        knn = KNeighborsRegressor(10, weights="distance").fit(scale.transform(before), values)
        return knn.predict(scale.transform(after))

    ranks = QuantileTransformer(n_quantiles=len(train), output_distribution="normal").fit(train)
    designs = [np.clip(ranks.transform(one), -2.5, 2.5) for one in (train, asked)]
    designs = [np.hstack([one, one**2]) for one in designs]
    left = {}
    for kind in ("image", "spectrum"):
        before, after = reference.inputs[kind].astype(float), test.inputs[kind].astype(float)
        line = LinearRegression().fit(designs[0], before)
        left[kind] = after - line.predict(designs[1])
        fit = scores.without[kind]
        assert fit.whole.r2 == pytest.approx(r2_score(target["test"], neighbours(before, target["train"], after)))
        cleaned = neighbours(before - line.predict(designs[0]), target["train"], left[kind])
        assert fit.left.r2 == pytest.approx(r2_score(target["test"], cleaned))
        rest = target["test"] - said[1]
        added = neighbours(before, target["train"] - said[0], after)
        assert fit.partial.r2 == pytest.approx(1 - ((rest - added) ** 2).sum() / (rest**2).sum())
        scale = StandardScaler().fit(before)
        ridge = RidgeCV(alphas=np.logspace(-3, 6, 19)).fit(scale.transform(before), train[:, 1])
        expected = r2_score(asked[:, 1], ridge.predict(scale.transform(after)))
        assert scores.told[kind].columns["psf_fwhm_r"].r2 == pytest.approx(expected, abs=1e-3)

    # Recall of what is left, and what the nuisance explains beyond products of magnitudes.
    directions = {kind: one / np.linalg.norm(one, axis=1, keepdims=True) for kind, one in left.items()}
    similarity = directions["image"] @ directions["spectrum"].T
    within = ((similarity > np.diag(similarity)[:, None]).sum(axis=1) < 10).mean()
    assert scores.retrieval["image_to_spectrum"].recall == pytest.approx(within, abs=0.011)
    both = {name: np.concatenate([target["train"], target["test"]]) for name in ("redshift",)}
    magnitudes = np.concatenate([clean.magnitudes(one.rows) for one in (reference, test)])
    terms = PolynomialFeatures(2).fit_transform(magnitudes - magnitudes.mean(axis=0))
    rest = both["redshift"] - LinearRegression().fit(terms, both["redshift"]).predict(terms)
    values = np.concatenate([train, asked])
    ranks = QuantileTransformer(n_quantiles=len(values), output_distribution="normal").fit_transform(values)
    ranks = np.clip(ranks, -2.5, 2.5)
    design = np.hstack([ranks, ranks**2])
    assert scores.beyond_magnitude == pytest.approx(LinearRegression().fit(design, rest).score(design, rest), rel=1e-6)

    # Thirds of seeing: R2 within each of what all neighbours say.
    image = neighbours(reference.inputs["image"].astype(float), target["train"], test.inputs["image"].astype(float))
    worst = asked[:, 1] > np.quantile(asked[:, 1], 2 / 3)
    group = found.shift["psf_fwhm_r"]["highest third"]
    assert group.objects == worst.sum()
    assert group.fit["image"].r2 == pytest.approx(r2_score(target["test"][worst], image[worst]))
    assert sum(one.objects for one in found.shift["sky_r"].values()) == len(test.rows)


def test_controls_fall_to_what_bins_of_magnitude_and_chance_reach(clean):
    found, reference, test = audited(clean, aligned=True)
    control = found.controls.permuted_labels["spectrum"]
    # These vectors tell the redshift itself; with permuted labels nothing of it is left but what the bin tells.
    assert found.nuisances["magnitude"].without["spectrum"].whole.r2 > 0.4
    assert control.holds
    assert control.r2 < control.bins < 0.6
    magnitude = np.concatenate([clean.magnitudes(one.rows)[:, 1] for one in (reference, test)])
    bins = (np.argsort(np.argsort(magnitude)) * min(10, len(magnitude) // 20) // len(magnitude))[len(reference.rows) :]
    truth = clean.target("redshift", test.rows)
    between = sum((bins == one).sum() * (truth[bins == one].mean() - truth.mean()) ** 2 for one in set(bins.tolist()))
    assert control.bins == pytest.approx(between / (len(truth) * truth.var()))
    pairs = found.controls.shuffled_pairs["image_to_spectrum"]
    assert pairs.holds
    assert pairs.recall.chance == 10 / len(test.rows)
    assert found.nuisances["magnitude"].retrieval.keys() == found.controls.shuffled_pairs.keys()


def test_eval_says_what_leaks_in_scores_report_and_warning(tmp_path, survey, image_model, capsys, monkeypatch):
    # Maps and galleries of vectors take long, and are looked at elsewhere.
    for figures in ("_maps", "_galleries"):
        monkeypatch.setattr(report, figures, lambda *given: [])
    store = survey("sky", seed=5)
    quick = ("bootstrap_samples=20", "neighbours=10", "properties=[redshift]", "labels=[]")
    request = EvalRequest(checkpoint=image_model, data=(store,), output=tmp_path / "e", overrides=quick, json=True)
    document = evaluation.run(request)
    scores = document["datasets"]["sky"]["audit"]
    # No evaluation with a leak is called good.
    assert document["verdicts"]["sky"]["standing"] in ("mixed", "poor")
    (verdict,) = scores["verdicts"]
    assert verdict.startswith("leak found: sky explains ")
    assert f"warning: sky: {verdict}" in capsys.readouterr().err
    text = (tmp_path / "e" / "report.html").read_text()
    assert f"Beware: {verdict}." in text
    assert "sky: redshift without nuisances" in text
    assert "sky: redshift by group of objects" in text
    assert "How far the answer of image vectors moves where a patch is hidden." in text
    assert (tmp_path / "e" / "figures" / "sky.image.attribution.png").is_file()
    assert (scores["target"], scores["seed"], scores["permutations"]) == ("redshift", 0, 999)
    # Images alone have no partners.
    assert scores["nuisances"]["sky"]["retrieval"] == {}


def test_what_cannot_be_audited_is_refused_or_said(tmp_path, mock_store, image_model, capsys):
    def evaluate(*overrides):
        given = (
            "bootstrap_samples=5",
            "neighbours=5",
            "labels=[]",
            "properties=[redshift]",
            "report=false",
            *overrides,
        )
        return evaluation.run(
            EvalRequest(checkpoint=image_model, data=(mock_store,), output=tmp_path / "e", overrides=given, json=True)
        )

    with pytest.raises(StoreError, match="has no property 'airmess'"):
        evaluate("audit.columns=[airmess]")
    with pytest.raises(StoreError, match="column morphology is text"):
        evaluate("audit.target=morphology")
    assert not (tmp_path / "e").exists()
    assert "audit" not in evaluate()["datasets"]["mock"]
    assert "no audit, which needs 40 of each" in capsys.readouterr().err
