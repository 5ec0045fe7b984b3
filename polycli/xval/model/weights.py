"""Models from checkpoints: our own, and those of the published code, whose sizes are read off their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from polycli.checkpoints.exported import ModelDescription, description_of
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.checkpoints.tensors import read_state_dict
from polycli.errors import CheckpointError, problems_of
from polycli.nn.skeleton import skeleton
from polycli.nn.weights import assign_tensors
from polycli.xval.model.heads import HEAD_PREFIX, HeadDescription, RecordModel
from polycli.xval.model.number_features import Bits
from polycli.xval.model.numformer import Numformer, SpecialTokens
from polycli.xval.numbers import encoding_from_json, token_names
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.vocabulary import Vocabulary

#: Present in every Numformer, whatever its sizes.
LANDMARKS = ("token_embed.weight", "position_embed.weight", "encoder_stack.layers.0.linear1.weight", "lm_head.0.weight")
BANK = "number_encoder.bank.vectors.weight"
READING = "number_encoder.reading.weight"


def load_model(path: str | Path, **sizes: Any) -> Numformer:  # noqa: ANN401  # the keys of ModelSection
    """A Numformer in eval mode, float32, on the CPU, from anything that CHECKPOINT may be.

    Args:
        path: a run, a checkpoint in it, a safetensors file with or without its model.json, or a file of the original
            project, whose sizes are inferred from its tensors.
        sizes: keys of the recipe's model section that shall hold instead of what the checkpoint says or implies:
            `num_heads`, which no tensor tells (6 where nothing says otherwise, as published), or
            `encoding="multiscale"` for a bank of zeros beside the numbers of a plain checkpoint.

    Returns:
        The model; `.section` says what it is.

    Raises:
        CheckpointError: the file is absent, truncated, dangerous, of another family, or no checkpoint at all.
        TypeError: `sizes` has a key that the model section has not.

    Example:
        >>> import torch
        >>> from polycli.xval import load_model
        >>> model = load_model("numformer/model.safetensors")  # or a run, as "runs/xval_demo"
        >>> model.section.encoding
        'xval'
        >>> token_ids, numbers = torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5)
        >>> model(token_ids, numbers).shape == (1, 5, model.tokens)
        True
    """
    if unknown := sorted(set(sizes) - set(ModelSection.model_fields)):
        raise TypeError(f"load_model has no size {unknown[0]!r}; there are {', '.join(ModelSection.model_fields)}")
    resolved = resolve_checkpoint(Path(path))
    return model_from(resolved.model_file, description_of(resolved, family="xval"), sizes)


def model_from(file: Path, description: ModelDescription | None, sizes: Mapping[str, Any]) -> Numformer:
    """The network in a file of weights, with what its model.json says of it.

    Raises:
        CheckpointError: no Numformer, damaged, or description and tensors do not fit each other.
    """
    tensors = {name: value for name, value in read_state_dict(file).items() if not name.startswith(HEAD_PREFIX)}
    section = _section(file, tensors, None if description is None else description.model, sizes)
    tokens = tensors["token_embed.weight"].shape[0]
    with skeleton():
        model = Numformer(section, tokens, _special(file, description, tokens))
    _assign(file, model, tensors)
    return model.eval()


def record_model_from(file: Path, description: ModelDescription) -> RecordModel | None:
    """The network with the head that finetuning gave it; None where it has none.

    Raises:
        CheckpointError: as `model_from`.
    """
    head = (description.model_extra or {}).get("head")
    if head is None:
        return None
    tensors = read_state_dict(file)
    section = _section(file, tensors, description.model, {})
    tokens = tensors["token_embed.weight"].shape[0]
    try:
        known = HeadDescription.from_json(head)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: what its model.json says of its head is not sound ({error})") from error
    with skeleton():
        model = RecordModel(section, tokens, known, _special(file, description, tokens))
    _assign(file, model, tensors)
    model.eval()
    return model


def infer_section(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keys of the model section that the tensors of a Numformer tell; the number of heads is not among them."""
    tokens_width = tensors["token_embed.weight"].shape
    inferred: dict[str, object] = {
        "embed_dim": tokens_width[1],
        "feed_forward": tensors["encoder_stack.layers.0.linear1.weight"].shape[0],
        "context": tensors["position_embed.weight"].shape[0],
        "blocks": len({name.split(".")[2] for name in tensors if name.startswith("encoder_stack.layers.")}),
    }
    if BANK in tensors:
        inferred["encoding"] = "multiscale"
    elif READING in tensors:
        inferred["encoding"] = "bits" if tensors[READING].shape[-1] == Bits().width else "fone"
    elif "num_head.0.weight" not in tensors:
        inferred["encoding"] = "p10"  # Some text encoding; the tensors do not tell which.
    return inferred


def _special(file: Path, description: ModelDescription | None, tokens: int) -> SpecialTokens:
    """The ids of the special tokens, after a look whether the vocabulary is that of the tensors."""
    extra = (description.model_extra or {}) if description is not None else {}
    if "vocabulary" in extra and "encoding" in extra:
        names = token_names(Vocabulary.from_json(extra["vocabulary"]), encoding_from_json(extra["encoding"]))
        if len(names) != tokens:
            raise CheckpointError(
                f"{file}: the vocabulary in its model.json has {len(names)} tokens, the model {tokens}: it does not "
                "belong to this checkpoint",
                hint="keep model.safetensors and model.json of one checkpoint together",
            )
    try:
        special = TypeAdapter(SpecialTokens).validate_python(extra.get("special", {}))
    except ValidationError as error:
        raise CheckpointError(
            f"{file}: `special` in its model.json is not what polycli writes ({problems_of(error)})"
        ) from error
    for name, number in asdict(special).items():
        if not 0 <= number < tokens:
            raise CheckpointError(
                f"{file}: special.{name} in its model.json is {number}, and there are {tokens} tokens"
            )
    return special


def _section(
    file: Path, tensors: Mapping[str, Tensor], described: Mapping[str, object] | None, sizes: Mapping[str, Any]
) -> ModelSection:
    if missing := [name for name in LANDMARKS if name not in tensors]:
        raise CheckpointError(
            f"{file}: not an xVal model: {missing[0]} is missing; its {len(tensors)} tensors include {min(tensors)}"
        )
    try:
        known = {**(described or infer_section(tensors)), **sizes}
        if known.get("encoding") == "fone" and known.get("exponents") is None:
            raise CheckpointError(
                f"{file}: no tensor tells which digits its numbers have, and no model.json says it",
                hint="load_model(path, exponents=(LOW, HIGH)): the powers of ten of the last and the first digit",
            )
        return ModelSection.model_validate(known)
    except (ValidationError, KeyError, ValueError, IndexError) as error:
        reason = problems_of(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(
            f"{file}: its sizes are not those of an xVal model ({reason})",
            hint="load_model(path, num_heads=N) where the heads are not 6" if described is None else None,
        ) from error


def _assign(file: Path, model: Numformer, tensors: dict[str, Tensor]) -> None:
    """Give the model its tensors; a plain checkpoint is a multiscale one whose bank is zero."""
    expected = model.state_dict()
    if BANK in expected:
        tensors.setdefault(BANK, torch.zeros(expected[BANK].shape))
    assign_tensors(file, model, tensors)
