"""The checkpoint that finetuning starts from, and how it grows by the keys of new data.

The network, the encoding of numbers and the scalers of known key paths are the checkpoint's. Keys that it does not know
get tokens of their own, by name, behind all that were there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from polycli.checkpoints.exported import description_of
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import note, say
from polycli.errors import CheckpointError
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language, language_of
from polycli.xval.data.reading import reading_of, warn_of_another_order
from polycli.xval.data.store import RecordStore
from polycli.xval.data.tokenization import (
    merged_statistics,
    read_tokenization,
    refuse_overflow,
    refuse_uncovered,
    warn_of_saturation,
)
from polycli.xval.model.numformer import Numformer
from polycli.xval.model.weights import model_from
from polycli.xval.numbers import token_names
from polycli.xval.numbers.scaling import make_scaling
from polycli.xval.recipe.training import FinetuneRecipe
from polycli.xval.records.units import joined_units
from polycli.xval.training.fill_in import hidden_classes

#: Tensors with one row for every token.
_BY_TOKEN = ("token_embed.weight", "lm_head.2.weight")


@dataclass(frozen=True)
class Start:
    """The checkpoint that training starts from."""

    network: Numformer
    tokenization: Tokenization
    #: What model.json said of its training data.
    trained_on: dict[str, TrainedOn]

    @property
    def earlier(self) -> dict[str, dict[str, TrainedOn]]:
        """Maps where the checkpoint was named to the data that it had seen."""
        return {"--checkpoint": self.trained_on}


def load_start(path: Path) -> Start:
    """The network of a checkpoint, and how it reads records.

    Raises:
        CheckpointError: it is none of this family, or says nothing of its vocabulary, as the published ones do not.
    """
    resolved = resolve_checkpoint(path)
    description = description_of(resolved, family="xval")
    if description is None:
        raise CheckpointError(
            f"{resolved.model_file}: it has no model.json, so nothing says which keys and tokens it knows",
            hint="finetune from a run of polycli, or from an export of one",
        )
    network = model_from(resolved.model_file, description, {})
    extra = description.model_extra or {}
    tokenization = read_tokenization(extra, network.section, source=str(resolved.model_file.with_suffix(".json")))
    say(f"from {resolved.model_file} ({resolved.how}), step {description.step}")
    return Start(network, tokenization, description.trained_on)


def extended(recipe: FinetuneRecipe, known: Tokenization, stores: Sequence[RecordStore]) -> Tokenization:
    """The checkpoint's tokenization with the keys and key paths of the data behind its own.

    Raises:
        StoreError: the data has keys that are new, and the recipe refuses them; or numbers that cannot be written, or
            that are in other units than the checkpoint's.
    """
    languages = [language_of(store) for store in sorted(stores, key=lambda store: store.name)]
    if recipe.new_keys == "refuse":
        for language in languages:
            # Says which key is not known.
            Language(known.language.vocabulary, language.key_paths).reader(language)
    language = known.language.joined(languages)
    new = [key for key in language.vocabulary.keys if key not in known.language.vocabulary.key_ids]
    if new:
        note(f"the vocabulary grows by {len(new)} keys of the data: {', '.join(map(repr, new[:5]))}")
    paths = [path for path in language.key_paths if path not in known.language.key_paths]
    scaling = known.scaling
    if paths:
        scaling = scaling.extended(make_scaling(recipe.scaling, paths, merged_statistics(stores)))
    refuse_overflow(scaling, stores)
    if known.encoding.name == "xval":
        warn_of_saturation(scaling, stores)
    hint = "start from a checkpoint of wider model.exponents, or of xval, multiscale or bits, which have no bounds"
    refuse_uncovered(known.encoding, scaling, stores, hint=hint)
    named = sorted(stores, key=lambda store: store.name)
    units = joined_units([("the checkpoint", known.units), *((str(store.path), store.units) for store in named)])
    reading = reading_of(named)
    for store in named:
        warn_of_another_order(store, known.key_order)
    if known.reading is not None:
        reading = reading.model_copy(
            update={
                "key_order": {**known.reading.key_order, **reading.key_order},
                "digits": known.reading.digits.extended(
                    reading.digits, before=known.language.key_paths, now=merged_statistics(stores)
                ),
            }
        )
    return replace(known, language=language, scaling=scaling, units=units, reading=reading)


def with_classes(recipe: FinetuneRecipe, known: Tokenization, stores: Sequence[RecordStore]) -> Tokenization:
    """The tokenization with the classes of the data beside those that the checkpoint knows, which stay the first."""
    new = hidden_classes(recipe.objective, known, stores)
    joined = {path: tuple(dict.fromkeys((*known.classes.get(path, ()), *values))) for path, values in new.items()}
    return replace(known, classes={**known.classes, **joined})


def extended_tensors(start: Start, tokenization: Tokenization) -> dict[str, Tensor]:
    """The checkpoint's tensors with its tokens' rows where the same names stand now, and new rows for new tokens."""
    before = token_names(start.tokenization.language.vocabulary, start.tokenization.encoding)
    now = token_names(tokenization.language.vocabulary, tokenization.encoding)
    places = {name: place for place, name in enumerate(before)}
    tensors = dict(start.network.state_dict())
    for name in _BY_TOKEN:
        old = tensors[name]
        # New keys begin like the average token, with as much of their own as tokens have.
        rows = old.mean(dim=0) + old.std(dim=0) * torch.randn(len(now), old.shape[1])
        if name == "lm_head.2.weight":
            rows = old.mean(dim=0).expand(len(now), -1).clone()
        known = [place for place, token in enumerate(now) if token in places]
        rows[known] = old[[places[now[place]] for place in known]]
        tensors[name] = rows
    return tensors
