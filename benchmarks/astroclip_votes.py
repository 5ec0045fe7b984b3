r"""How well volunteers' votes are predicted on a simulated survey, and galaxies found by class, over three seeds.

    polycli prepare astroclip --source mock --output mock.zarr --set mock.objects=4000 --set mock.size=72 \
        --set mock.seed=11 --set split.test=0.3
    polycli pretrain astroclip --recipe astroclip_demo_image --data mock.zarr --output image \
        --set model.image.size=72 --set train.steps=60
    python benchmarks/astroclip_votes.py --store mock.zarr --image image --output votes

Heads learn the votes on the frozen vectors of the checkpoint, with Dirichlet concentrations above 1, as published, and
above 0.1; and head and encoder learn them together from there. `eval` scores all on the objects that test. Runs and
scores that are there are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _record import add_option, finish

from polycli.__main__ import run as command_line
from polycli.report.table import Table

VOTES = "model.properties.votes"
FROZEN = "head on frozen vectors"
TRAINED_ON = "encoder trained on"
#: By name the settings of a training, which begins from the checkpoint.
WAYS: dict[str, tuple[str, ...]] = {
    f"{FROZEN}, above 1": (f"{VOTES}.lowest=1",),
    f"{FROZEN}, above 0.1": (f"{VOTES}.lowest=0.1",),
    f"{TRAINED_ON}, above 0.1": (
        f"{VOTES}.lowest=0.1",
        "freeze=false",
        "train.global_batch_size=32",
        "train.micro_batch_size=32",
        "train.validate_every=50",
        "train.checkpoint_every=50",
    ),
}
BASELINES = {"constant": "the same for all", "photometry": "photometry, k-NN", "image_by_hand": "by hand, k-NN"}
Scores = dict[str, list[dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True, help="checkpoint whose vectors heads learn from")
    parser.add_argument("--output", type=Path, required=True, help="a folder for runs and scores")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="of the encoder; heads have those of their recipe")
    add_option(parser)
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    found = {way: [scored(options, way, seed) for seed in range(options.seeds)] for way in WAYS}
    figures = {way: [kept(scores) for scores in runs] for way, runs in found.items()}
    finish(options, figures, votes_table(found), class_table(found), feedback_table(found))


def scored(options: argparse.Namespace, way: str, seed: int) -> dict[str, Any]:
    """Train in one way with one seed, and return what `eval` says of morphology."""
    settings = WAYS[way]
    name = way.replace(" ", "-").replace(",", "")
    run, report = options.output / f"{name}-{seed}", options.output / f"{name}-{seed}-scores"
    if not (report / "scores.json").exists():
        steps = (f"train.steps={options.steps}",) if "freeze=false" in settings else ()
        given = [*settings, *steps, f"{VOTES}.tree=mock", f"train.seed={seed}", "data.validation_objects=256"]
        start = ("--recipe", "astroclip_votes", "--checkpoint", options.image)
        polycli("finetune", *start, "--data", options.store, "--output", run, *asked(given))
        quick = ("report=false", "audit.run=false", "properties=[redshift]", "neighbours=32")
        polycli("eval", "--checkpoint", run, "--data", options.store, "--output", report, *asked(quick))
    (dataset,) = json.loads((report / "scores.json").read_text())["datasets"].values()
    return dict(dataset["morphology"])


def kept(scores: dict[str, Any]) -> dict[str, Any]:
    """What the file keeps of the scores of one run: answers to questions, and nDCG by class."""
    classes = {
        column: {
            "members": entry["members"],
            "ndcg_at_10": {
                source: {label: one["ndcg_at_10"] for label, one in labels.items()}
                for source, labels in entry["rankings"].items()
            },
        }
        for column, entry in scores["by_class"].items()
    }
    return {"votes": {name: entry["by"] for name, entry in scores["votes"].items()}, "by_class": classes}


def polycli(verb: str, *words: object) -> None:
    """One command line; ends the script where it fails."""
    if code := command_line([verb, "astroclip", *(str(word) for word in words)]):
        sys.exit(code)


def asked(settings: list[str] | tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def votes_table(found: Scores) -> Table:
    """One row for each question and way to answer it, baselines below."""
    rows, ruled = [], set()
    first = next(iter(found.values()))
    for question, entry in first[0]["votes"].items():
        answers = {way: [scores["votes"][question]["by"]["head"] for scores in runs] for way, runs in found.items()}
        answers |= {text: [entry["by"][who]] for who, text in BASELINES.items()}
        for who, several in answers.items():
            cells = [
                spread([one["majority"]["accuracy"] for one in several]),
                spread([one["majority"]["f1_weighted"] for one in several]),
                spread([one["majority"]["f1_macro"] for one in several]),
                spread([one["fraction_error"] for one in several]),
                spread([one["negative_log_likelihood"] for one in several]),
                spread([one["within_90"] for one in several]),
            ]
            rows.append([question, who, f"{entry['objects']:,}", *cells])
        ruled.add(len(rows) - 1)
    columns = [
        *("question", "answered by", "objects", "accuracy", "F1, weighted", "F1, macro", "error of fractions"),
        *("-log likelihood", "within 90 %"),
    ]
    caption = "Mean over seeds (smallest to largest). Objects with more than 34 votes; likelihood: all with a vote."
    return Table("Answers to simulated volunteers' questions", columns, rows, caption, 2, frozenset(ruled))


def class_table(found: Scores) -> Table:
    """One row for each class: nDCG within ten by vectors of both kinds, photometry and chance."""
    kinds = (FROZEN, TRAINED_ON)
    frozen, moved = (next(runs for way, runs in found.items() if way.startswith(kind)) for kind in kinds)
    rows = []
    for column, label in classes_of(frozen[0]):
        entry = frozen[0]["by_class"][column]

        def by(runs: list[dict[str, Any]], source: str, column: str = column, label: str = label) -> str:
            return spread([scores["by_class"][column]["rankings"][source][label]["ndcg_at_10"] for scores in runs])

        chance = entry["rankings"]["image"][label]["chance"]
        cells = [
            by(frozen[:1], "image"),
            by(moved, "image"),
            by(frozen[:1], "photometry"),
            by(frozen[:1], "image_by_hand"),
        ]
        rows.append(
            [column, label, f"{entry['members'][label]:,}", f"{entry['candidates']:,}", *cells, f"{chance:.3f}"]
        )
    columns = ["column", "class", "members", "of", "frozen vectors", "trained on", "photometry", "by hand"]
    caption = "nDCG within ten; of encoders trained on the mean over seeds (smallest to largest)."
    return Table("Retrieval by class", [*columns, "by chance"], rows, caption, 2)


def feedback_table(found: Scores) -> Table:
    """One row for each class: nDCG within ten before and after examples were marked, by moved vectors."""
    moved = next(runs for way, runs in found.items() if way.startswith(TRAINED_ON))
    rows = []
    for column, label in classes_of(moved[0]):
        several = [scores["by_class"][column].get("feedback", {}).get("image", {}).get(label) for scores in moved]
        if any(one is None for one in several):
            continue
        cells = [spread([one[kind]["ndcg_at_10"] for one in several]) for kind in ("one", "good", "good_and_bad")]
        rows.append([column, label, *cells, spread([one["gain"] for one in several])])
    columns = ["column", "class", "one example", "5 good ones", "5 good, 5 bad", "gain"]
    caption = "nDCG within ten by vectors of encoders trained on: mean over seeds (smallest to largest), 20 draws each."
    return Table("Marked examples", columns, rows, caption, 2)


def classes_of(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Columns and classes that have a ranking, the frequent ones first."""
    return [
        (column, label)
        for column, entry in scores["by_class"].items()
        for label in sorted(entry["members"], key=lambda name, entry=entry: -entry["members"][name])
        if label in entry["rankings"]["image"]
    ]


def spread(values: list[float], digits: Callable[[float], str] = "{:.3f}".format) -> str:
    """Mean, smallest and largest; one value alone as it is."""
    if len(values) == 1:
        return digits(values[0])
    return f"{digits(float(np.mean(values)))} ({digits(min(values))} to {digits(max(values))})"


if __name__ == "__main__":
    main()
