"""A trained model learns fields that it did not know: they are appended to its vocabulary by name.

What it predicts of its old fields does not change. The field projection scales its columns by the root of the number
of known fields over the present ones, so with more known fields the stored columns shrink by the inverse of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from polycli.errors import UserError
from polycli.mpp.model.kinds import make_network
from polycli.mpp.model.network import Network
from polycli.mpp.model.stem import FieldProjection

#: What a new field starts from where no old one is named for it.
NewFieldStart = Literal["mean", "copy", "noise"]
_PLACEHOLDER = "unused."


def with_new_fields(
    model: Network,
    fields: Sequence[str],
    *,
    start: NewFieldStart = "mean",
    from_fields: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Network:
    """A new model, ready to train, that knows the fields of `model`, at their places, and `fields` behind them.

    Args:
        model: the trained model; it is not changed.
        fields: names; those that the model knows already are left as they are.
        start: what a new field's input column and output kernel start from. `mean`: the average over the old fields;
            `copy`: the old field of the same quantity (what follows the last dot in the name), else the average;
            `noise`: random numbers of the old ones' spread.
        from_fields: by new field: the old field that it starts as a copy of, whatever `start` says.
        seed: of the noise.

    Raises:
        UserError: `from_fields` names a field that is not new, or an old one that the model does not know.
    """
    known = model.section.fields
    new = [field for field in dict.fromkeys(fields) if field not in known]
    named = dict(from_fields or {})
    _check_names(named, known, new)
    grown = make_network(model.section.model_copy(update={"fields": (*known, *new)}))
    sources = [_source(field, known, start, named) for field in new]
    generator = torch.Generator().manual_seed(seed)
    # On the CPU, where the new model is made, wherever the trained one lies; without a head on top, if it has one.
    names = grown.state_dict().keys()
    tensors = {name: value.cpu() for name, value in model.state_dict().items() if name in names}
    shrink = math.sqrt(len(known) / (len(known) + len(new)))
    used = [index for index, field in enumerate(known) if not field.startswith(_PLACEHOLDER)] or [*range(len(known))]
    for name, axis in model.field_axes.items():
        tensors[name] = _appended(tensors[name], axis, sources, used, generator)
    for name, module in model.named_modules():
        if isinstance(module, FieldProjection):
            tensors[f"{name}.weight"] = tensors[f"{name}.weight"] * shrink
            tensors[f"{name}.bias"] = tensors[f"{name}.bias"] * shrink
    grown.load_state_dict(tensors)
    return grown


def _check_names(named: Mapping[str, str], known: Sequence[str], new: Sequence[str]) -> None:
    for field, old in named.items():
        if field not in new:
            why = "the checkpoint knows it already" if field in known else f"the data's new fields are {', '.join(new)}"
            raise UserError(f"init.map names {field!r} as a new field, but {why}")
        if old not in known:
            raise UserError(f"init.map starts {field!r} from {old!r}; the checkpoint knows {', '.join(known)}")


def _source(field: str, known: Sequence[str], start: NewFieldStart, named: Mapping[str, str]) -> int | NewFieldStart:
    """The place of the old field that a new one copies, or `mean` or `noise`."""
    if field in named:
        return known.index(named[field])
    if start == "copy":
        quantity = field.rpartition(".")[2]
        alike = [index for index, old in enumerate(known) if old.rpartition(".")[2] == quantity]
        return alike[0] if alike else "mean"
    return start


def _appended(
    tensor: Tensor, axis: int, sources: Sequence[int | NewFieldStart], used: Sequence[int], generator: torch.Generator
) -> Tensor:
    """`tensor` with one entry more along `axis` for every source."""
    old = tensor.movedim(axis, 0)
    trained = old[list(used)]
    rows = [old]
    for source in sources:
        if isinstance(source, int):
            row = old[source]
        elif source == "mean":
            row = trained.mean(dim=0)
        else:
            spread = trained.std(unbiased=False) if old.ndim == 1 else trained.std(dim=0, unbiased=False)
            row = spread * torch.randn(old.shape[1:], generator=generator)
        rows.append(row[None])
    return torch.cat(rows).movedim(0, axis).contiguous()
