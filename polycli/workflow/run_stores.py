"""data.json of a run: which stores it was trained on, and where they lay."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from polycli.errors import RunError, problems_of
from polycli.files.documents import read_json

_NAME = "data.json"


class RunStore(BaseModel):
    """One store of a training; what families note beside it is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    path: str
    store_hash: str


_DOCUMENT = TypeAdapter(dict[str, RunStore])


def stores_of_run(run: Path | None) -> dict[str, RunStore]:
    """The stores of a run's training, by name; empty where there is no run, or it says none.

    Raises:
        RunError: the run's data.json is damaged.
    """
    if run is None:
        return {}
    path = run / _NAME
    hint = "copy the run again, or name the data"
    try:
        return _DOCUMENT.validate_python(read_json(path, RunError, what="the list of the run's stores", hint=hint))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise RunError(f"{path}: not a list of the run's stores: {problems_of(error)}", hint=hint) from error
