"""Mistakes in files of settings, as pydantic finds them, told in one line: the key as it stands there, found, expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vigie.core.errors import VigieError, nearest

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a key that a model does not have, and one that a dataclass does not have."""


def explain(error: ValidationError, origin: str, settings: type[BaseModel], content: object, guide: str) -> VigieError:
    """Say the first fault of a validation, and how many others there are, in one line.

    What a validator of ours raises as ValueError says what is expected.

    Parameters
    ----------
    error, origin: what pydantic found, and the name of the file it found it in.
    settings, content: the model, and what was read.
    guide: where the keys are told.

    Examples
    --------
    >>> class Camera(BaseModel, extra="forbid"):
    ...     lens: str = ""
    >>> try:
    ...     Camera.model_validate({"lenz": "50 mm"})
    ... except ValidationError as error:
    ...     print(explain(error, "mine.toml", Camera, {"lenz": "50 mm"}, "the manual"))
    mine.toml: unknown key 'lenz'; to mend it: did you mean 'lens'?
    """
    faults = _own_faults(error.errors())
    first = faults[0]
    place = _place(first["loc"], content)
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] in UNKNOWN_KEY:
        hint = nearest(str(first["loc"][-1]), _keys(settings))
        return VigieError(f"{origin}: unknown key '{place}'{others}", do=hint or f"see {guide} for the known keys")
    if first["type"] == "missing":
        return VigieError(f"{origin}: key '{place}' is missing{others}", do=f"add it; {guide} tells what it means")
    wanted = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return VigieError(
        f"{origin}: key '{place}' is wrong{others}" if place else f"{origin} is wrong{others}",
        found=_found(first),
        expected=wanted,
        do=f"correct it; {guide} tells what it means",
    )


def _own_faults(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what is only said of a table or list because something in it is wrong."""
    inner = [fault["loc"] for fault in faults]
    return [f for f in faults if not any(len(at) > len(f["loc"]) and at[: len(f["loc"])] == f["loc"] for at in inner)]


def _found(fault: ErrorDetails) -> str | None:
    """Show a wrong value; of a table whose keys contradict each other the message says enough."""
    value = fault["input"]
    if fault["type"] == "value_error" and isinstance(value, Mapping):
        return None
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _place(location: tuple[int | str, ...], content: object) -> str:
    """Name a key as it stands in the file: what pydantic adds to tell variants of a table apart is left out."""
    names: list[str] = []
    for number, part in enumerate(location):
        if isinstance(content, Mapping) and part not in content and number < len(location) - 1:
            continue
        names.append(str(part))
        content = _inside(content, part)
    return ".".join(names)


def _inside(content: object, part: int | str) -> object:
    if isinstance(content, Mapping):
        return content.get(part)
    return content[part] if isinstance(content, list | tuple) and isinstance(part, int) and part < len(content) else None


def _keys(settings: type[BaseModel]) -> list[str]:
    """Every key any part of the settings knows, for hints."""
    schema = settings.model_json_schema()
    tables = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for table in tables for key in table.get("properties", {})})
