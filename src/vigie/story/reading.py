"""Experiments read from TOML and validated whole, before any work, with the settings of the application they name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vigie.core.errors import VigieError
from vigie.core.mistakes import explain
from vigie.story.app import App, Assessing, app_names, find_app
from vigie.story.experiment import Experiment

GUIDE = "`vigie schema`"
"""What tells the keys of an experiment."""


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
    content = read_toml(path, "experiment")
    for text in overrides:
        override(content, text)
    return validate(content, str(path))


def load_assessment(path: Path, overrides: Sequence[str] = ()) -> tuple[Assessing, BaseModel]:
    """Read and validate an assessment of the application that it names; parameters and errors are those of `load`.

    Raises
    ------
    VigieError: also where the application assesses nothing.
    """
    content = read_toml(path, "assessment")
    for text in overrides:
        override(content, text)
    app = named_app(content, str(path))
    if app.assess is None:
        able = [name for name in app_names() if find_app(name).assess]
        raise VigieError(f"'{app.name}' assesses nothing", expected=f"app = one of {', '.join(able)}", do="see `vigie apps`")
    try:
        return app.assess, app.assess.settings.model_validate(content)
    except ValidationError as error:
        raise explain(error, str(path), app.assess.settings, content, GUIDE) from error


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file that should be an experiment or an assessment.

    Raises
    ------
    VigieError: it is missing, or no TOML.
    """
    if not path.is_file():
        raise VigieError(f"there is no {what} '{path}'", expected="a TOML file", do="see examples/, or `vigie schema APP`")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VigieError(
            f"{path} is not TOML",
            found=error,
            expected="a TOML 1.0 file in UTF-8",
            do="correct it there; examples/ shows how tables and values are written",
        ) from error


def validate(content: dict[str, Any], origin: str) -> tuple[App, Experiment]:
    """Find the application an experiment names and validate the content with its settings."""
    app = named_app(content, origin)
    try:
        return app, app.settings.model_validate(content)
    except ValidationError as error:
        raise explain(error, origin, app.settings, content, GUIDE) from error


def named_app(content: Mapping[str, Any], origin: str) -> App:
    """Find the application that a file names.

    Raises
    ------
    VigieError: it names none, or one that is not there.
    """
    if "app" not in content:
        raise VigieError(
            f"{origin} names no application",
            expected=f"app = one of {', '.join(app_names())}",
            do="add this line before the first table",
        )
    return find_app(str(content["app"]))


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
