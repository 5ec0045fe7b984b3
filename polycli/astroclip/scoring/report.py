"""Scores to what people look at: tables, figures and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.data.rgb import PLANES, to_rgb
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.scoring.audits.attention import Attended
from polycli.astroclip.scoring.audits.attention_figures import (
    attended_sentence,
    draw_attended_images,
    draw_attended_spectra,
)
from polycli.astroclip.scoring.audits.attribution import Attributed
from polycli.astroclip.scoring.audits.figures import draw_images, draw_spectra
from polycli.astroclip.scoring.figures import against_truth, gallery, maps, reconstructions
from polycli.astroclip.scoring.head_scores import HEAD
from polycli.astroclip.scoring.kinds import alike_sentence
from polycli.astroclip.scoring.measure import Guesses
from polycli.astroclip.scoring.posteriors.figures import draw_pit
from polycli.astroclip.scoring.reconstruction import Panel
from polycli.astroclip.scoring.redshifts.figures import draw_templates
from polycli.astroclip.scoring.redshifts.templates import Curves
from polycli.astroclip.scoring.retrieval import unit
from polycli.astroclip.scoring.score_records import ObjectScores, Unaligned
from polycli.astroclip.scoring.tables import INPUTS, OWN_HEAD, overview
from polycli.names import picture_file
from polycli.report.html import Block, Figure, Heading, Paragraph, Verdicts, page
from polycli.report.provenance import provenance_block
from polycli.report.scores import Scores
from polycli.report.table import number

DEFINITIONS = (
    "k-NN: neighbours among training objects, weighted by inverse distance, on standardised vectors; MLP: two hidden "
    "layers of 64; trees: gradient boosting. 'Learnt from spectra': the neighbours of an image are spectra of training "
    "objects. 'Before alignment': features of the encoders that the alignment began from. Photometry is magnitudes and "
    "colours; 'measured by hand' adds concentrations, size, axis ratio and asymmetry. A second look is the same object "
    "with as much noise again, images also turned by 180 degrees. Hidden stretches are as in the training; the first "
    "token, mean and deviation, does not count. Intervals are 95 % bootstrap intervals over objects."
)
_QUERIES, _FOUND = 4, 6
#: Values under each picture of a gallery.
_SAID = 2
_PLURAL = {"image": "images", "spectrum": "spectra"}


@dataclass(frozen=True)
class Illustration:
    """The data behind the figures of one dataset."""

    rows: NDArray[np.int64]
    #: By modality: (n, d).
    vectors: Mapping[str, NDArray[np.float32]]
    guesses: Guesses
    #: Spectra with hidden stretches; none where the model reconstructs nothing.
    panels: Sequence[Panel]
    #: By modality; none without an audit.
    attributed: Mapping[str, Sequence[Attributed]]
    #: By modality; none where the heads have no attention.
    attended: Mapping[str, Sequence[Attended]]
    #: None where the spectrum encoder has no templates.
    templates: Curves | None
    aligned: bool
    seed: int


def write_report(
    scores: Scores[ObjectScores],
    stores: Mapping[str, ObjectStore],
    pictures: Mapping[str, Illustration],
    folder: Path,
    *,
    unaligned: Unaligned,
    training: Sequence[Block] = (),
) -> None:
    """Draw `folder`/figures and write `folder`/report.html.

    Datasets stand in the order of what needs attention first. `training` shows how the model was trained.
    """
    datasets = scores.by_importance
    objects = sum(dataset.objects for dataset in datasets.values())
    blocks: list[Block] = [
        Paragraph(f"Split {scores.split}, {objects} objects."),
        Verdicts(scores.judged),
        *overview(datasets),
        Paragraph(DEFINITIONS),
    ]
    for name in datasets:
        picture = pictures[name]
        blocks.append(Heading(name))
        blocks += [
            Paragraph(f"Beware: {alike_sentence(kind, datasets[name].objects)}.")
            for kind in datasets[name].geometry.constant or ()
        ]
        audited = datasets[name].audit
        blocks += [Paragraph(f"Beware: {sentence}.") for sentence in (audited.verdicts if audited else ())]
        blocks += _against_truth(name, picture, stores[name], folder / "figures")
        blocks += _posteriors(name, datasets[name], folder / "figures")
        reconstruction = datasets[name].reconstruction
        by = "" if reconstruction is None else reconstruction.by
        blocks += _reconstructions(name, picture, stores[name], folder / "figures", by=by)
        blocks += _templates(name, picture, folder / "figures")
        blocks += _attribution(name, picture, stores[name], folder / "figures")
        blocks += _attention(name, picture, stores[name], folder / "figures")
        blocks += _maps(name, picture, stores[name], folder / "figures")
        blocks += _galleries(name, picture, stores[name], folder / "figures")
    before = [(f"{name} encoder before alignment", path) for name, path in unaligned.unaligned.items()]
    before += [] if unaligned.stein is None else [("ResNet-50 of Stein et al.", unaligned.stein)]
    for label, found in (unaligned.baselines or {}).items():
        run = found.provenance
        before.append((f"baseline {label}", f"{run.checkpoint} ({run.selected_by}), SHA-256 {run.model_hash}"))
    blocks += [*training, Heading("Provenance"), provenance_block(scores, rows_are="objects", compared=before)]
    folder.joinpath("report.html").write_text(page("AstroCLIP evaluation", blocks), encoding="utf-8")


def _against_truth(name: str, picture: Illustration, store: ObjectStore, figures: Path) -> list[Block]:
    blocks: list[Block] = []
    for column, truth in picture.guesses.truth.items():
        predicted = picture.guesses.predicted[column]
        shown = [
            (text, predicted[source])
            for source, text in (
                (HEAD, OWN_HEAD),
                *((source, f"{INPUTS[source]}, k-NN") for source in ("image", "spectrum", "photometry")),
            )
            if source in predicted
        ]
        if not shown:
            continue
        file = picture_file(figures, name, column)
        against_truth(file, title=column, unit=store.unit(column), truth=truth, predicted=shown)
        blocks.append(Figure(file, f"{column}: predicted against true, and the difference.", lines=True))
    return blocks


def _posteriors(name: str, dataset: ObjectScores, figures: Path) -> list[Block]:
    blocks: list[Block] = []
    for column, scores in ({} if dataset.head is None else dataset.head.properties).items():
        if scores.posterior is not None:
            file = picture_file(figures, name, column, "pit")
            draw_pit(file, title=f"{column}: posteriors of the model's own head", pit=scores.posterior.pit)
            text = (
                f"{column}: the distribution function at the true values (PIT), uniform where posteriors are right. "
                "Shaded: what 95 % of such samples would show."
            )
            blocks.append(Figure(file, text, lines=True))
    return blocks


def _reconstructions(name: str, picture: Illustration, store: ObjectStore, figures: Path, *, by: str) -> list[Block]:
    if not picture.panels:
        return []
    file = picture_file(figures, name, "reconstructions")
    ids = store.id_texts(np.array([panel.row for panel in picture.panels]))
    shown = [(text, panel.truth, panel.guess, panel.hidden) for text, panel in zip(ids, picture.panels, strict=True)]
    reconstructions(file, title="Hidden stretches of spectra", panels=shown)
    return [Figure(file, f"Spectra, and what {by} makes of the stretches that it does not see (shaded).", lines=True)]


def _templates(name: str, picture: Illustration, figures: Path) -> list[Block]:
    if picture.templates is None:
        return []
    file = picture_file(figures, name, "templates")
    draw_templates(file, picture.templates, title="Learned templates at rest")
    text = (
        "Templates as spectra of this dataset mix them, and how spectra differ most from that, over rest wavelengths. "
        "Dotted: lines of galaxies, of which the training was told nothing."
    )
    return [Figure(file, text, lines=True)]


def _attribution(name: str, picture: Illustration, store: ObjectStore, figures: Path) -> list[Block]:
    blocks: list[Block] = []
    for kind, found in picture.attributed.items():
        file = picture_file(figures, name, kind, "attribution")
        (draw_spectra if kind == "spectrum" else draw_images)(file, store, found)
        part = "stretch" if kind == "spectrum" else "patch"
        blocks.append(Figure(file, f"How far the answer of {kind} vectors moves where a {part} is hidden."))
    return blocks


def _attention(name: str, picture: Illustration, store: ObjectStore, figures: Path) -> list[Block]:
    blocks: list[Block] = []
    for kind, found in picture.attended.items():
        file = picture_file(figures, name, kind, "attention")
        (draw_attended_spectra if kind == "spectrum" else draw_attended_images)(file, store, found)
        blocks.append(Figure(file, attended_sentence(store, found, kind=kind)))
    return blocks


def _maps(name: str, picture: Illustration, store: ObjectStore, figures: Path) -> list[Block]:
    if len(picture.rows) < 20:
        return []
    colours = [(column, store.target(column, picture.rows)) for column in picture.guesses.truth][:6]
    blocks: list[Block] = []
    for kind, vectors in picture.vectors.items():
        places, how = _flattened(unit(vectors), picture.seed)
        file = picture_file(figures, name, kind, "map")
        maps(file, title=f"{kind} vectors, {how}", places=places, colours=colours)
        blocks.append(Figure(file, f"{kind} vectors of {len(places)} objects in two dimensions ({how}), by property."))
    return blocks


def _flattened(vectors: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], str]:
    """Two dimensions by UMAP where it is installed, else by t-SNE."""
    if find_spec("umap") is not None:
        import umap

        flattening = umap.UMAP(metric="cosine", random_state=seed, n_jobs=1)
        return np.asarray(flattening.fit_transform(vectors), np.float64), "UMAP"
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    flat = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed).fit_transform(vectors)
    return np.asarray(flat, np.float64), "t-SNE; pip install 'polycli[umap]' for UMAP"


def _galleries(name: str, picture: Illustration, store: ObjectStore, figures: Path) -> list[Block]:
    """Draws the nearest objects of some queries: across modalities where aligned, within each otherwise."""
    pairs = [("image", "spectrum"), ("spectrum", "image")] if picture.aligned else []
    pairs += [(kind, kind) for kind in picture.vectors]
    queries = np.random.default_rng(picture.seed).permutation(len(picture.rows))[:_QUERIES]
    values = _values(picture, store)
    blocks: list[Block] = []
    for asked, answer in pairs:
        similarity = unit(picture.vectors[asked])[queries] @ unit(picture.vectors[answer]).T
        nearest = np.argsort(-similarity, axis=1)[:, :_FOUND]
        shown = []
        for query, neighbours in zip(queries.tolist(), nearest.tolist(), strict=True):
            captions = [
                ("query", query),
                *((_caption(index, one == query), one) for index, one in enumerate(neighbours, 1)),
            ]
            shown.append([(caption, values[one], *_look(store, int(picture.rows[one]))) for caption, one in captions])
        file = picture_file(figures, name, f"{asked}_to_{answer}")
        gallery(file, title=f"{_PLURAL[answer]} nearest to {_PLURAL[asked]}", pictures=shown)
        blocks.append(
            Figure(
                file,
                f"First: the object whose {asked} is the query. Then those with the nearest {answer} vectors; * is the "
                "object itself. Below each: what the catalogue says of it.",
            )
        )
    return blocks


def _values(picture: Illustration, store: ObjectStore) -> list[str]:
    """Says of each object some of its values, a line for each: what stands under its picture."""
    columns = sorted(picture.guesses.truth, key=lambda column: column != "redshift")[:_SAID]
    known = {column: store.target(column, picture.rows) for column in columns}
    return [
        "\n".join(f"{column} {number(float(values[place]))}" for column, values in known.items())
        for place in range(len(picture.rows))
    ]


def _caption(place: int, itself: bool) -> str:  # noqa: FBT001
    return f"{place}*" if itself else str(place)


def _look(store: ObjectStore, row: int) -> tuple[Any, Any]:
    """Colours (H, W, 3) for people, whatever the encoder sees, and the spectrum; None for what the store has not."""
    image = None
    if store.has_images and set(PLANES) <= set(store.bands):
        rgb = to_rgb(torch.from_numpy(store.read_images([row])), store.bands)[0]
        image = rgb.permute(1, 2, 0).numpy()
    return image, store.read_spectra([row]) if store.has_spectra else None
