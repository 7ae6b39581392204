"""Experiments read from TOML and validated whole, before any work, with the settings of the application they name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vigie.core.errors import VigieError, nearest
from vigie.story.app import App, app_names, find_app
from vigie.story.experiment import Experiment


def load(path: Path, overrides: Sequence[str] = ()) -> tuple[App, Experiment]:
    """Read and validate an experiment.

    Parameters
    ----------
    path: a TOML file.
    overrides: `key.key=value` with the value in TOML, for instance "train.fit.steps=20"; a bare word counts as text.

    Raises
    ------
    VigieError: the file is missing or is no TOML, a key is unknown (the nearest known one is named), or a value is wrong.
    """
    if not path.is_file():
        raise VigieError(f"there is no experiment '{path}'", expected="a TOML file", do="see examples/, or `vigie schema APP`")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VigieError(
            f"{path} is not TOML",
            found=error,
            expected="a TOML 1.0 file in UTF-8",
            do="correct it there; examples/ shows how tables and values are written",
        ) from error
    for text in overrides:
        override(content, text)
    return validate(content, str(path))


def validate(content: dict[str, Any], origin: str) -> tuple[App, Experiment]:
    """Find the application an experiment names and validate the content with its settings."""
    if "app" not in content:
        raise VigieError(
            f"{origin} names no application",
            expected=f"app = one of {', '.join(app_names())}",
            do="add this line before the first table",
        )
    app = find_app(str(content["app"]))
    try:
        return app, app.settings.model_validate(content)
    except ValidationError as error:
        raise _explain(error, origin, app.settings, content) from error


def override(content: dict[str, Any], text: str) -> None:
    """Set one key of an experiment's content from `key.key=value`."""
    key, equals, value_text = text.partition("=")
    if not equals or not key.strip():
        raise VigieError(
            "an override is not understood",
            found=text,
            expected="key.key=value, for instance train.fit.steps=20",
            do="give --set a key, = and a value, without spaces; `vigie schema` tells the keys",
        )
    try:
        value = tomllib.loads(f"value = {value_text}")["value"]
    except tomllib.TOMLDecodeError:
        value = value_text
    *parents, last = key.strip().split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise VigieError(
                f"override '{text}' goes through '{parent}'",
                found=f"{place!r:.60}",
                expected="a table there",
                do="see `vigie schema` for the known keys",
            )
    place[last] = value


def _explain(error: ValidationError, origin: str, settings: type[BaseModel], content: object) -> VigieError:
    """Say the first fault of a validation, and how many others there are, in one line."""
    faults = _own_faults(error.errors())
    first = faults[0]
    place = _place(first["loc"], content)
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = nearest(str(first["loc"][-1]), _keys(settings))
        return VigieError(f"{origin}: unknown key '{place}'{others}", do=hint or "see `vigie schema` for the known keys")
    if first["type"] == "missing":
        return VigieError(f"{origin}: key '{place}' is missing{others}", do="add it; `vigie schema` tells what it means")
    wanted = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return VigieError(
        f"{origin}: key '{place}' is wrong{others}",
        found=_found(first),
        expected=wanted,
        do="correct it; `vigie schema` tells what it means",
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
