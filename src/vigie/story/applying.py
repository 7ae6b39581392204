"""What an application says of `vigie apply`: which models are its own, what it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.core.errors import VigieError
from vigie.story.run import Run

Card = dict[str, Any]
"""What a model's `card.json` holds."""


@dataclass(frozen=True)
class Request:
    """What to apply a model to: files, and what they may not tell themselves."""

    scenes: tuple[str, ...]
    sensor: str = "auto"
    dem: Path | None = None
    date: str | None = None
    outlines: Path | None = None
    label_source: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, object]:
        """Options of the command line by name, None where one is not given.

        Examples
        --------
        >>> {name: value for name, value in Request(("a.tif",), "spot-6").options.items() if value is not None}
        {'--sensor': 'spot-6'}
        """
        return {
            "--sensor": None if self.sensor == "auto" else self.sensor,
            "--dem": self.dem,
            "--date": self.date,
            "--outlines": self.outlines,
            "--label-source": self.label_source,
        }


@dataclass(frozen=True)
class Applying:
    """How the models of an application serve somebody's own data.

    `options` of the command that it takes; `knows(card)` says whether a model is its own; `read_card(folder)` reads a card and
    refuses one that is not whole; `experiment(card, request, out)` writes the experiment; `check_model(run, folder, card)`
    refuses a model before anything is written; `acquire` finds the data, and `check(run, folder, card)` refuses them before
    they are copied; `warnings(run, card)` tells what to mind.
    """

    options: tuple[str, ...]
    knows: Callable[[Mapping[str, Any]], bool]
    read_card: Callable[[Path], Card]
    experiment: Callable[[Card, Request, Path], dict[str, Any]]
    acquire: Callable[[Run], None]
    check_model: Callable[[Run, Path, Card], None] = lambda run, folder, card: None
    check: Callable[[Run, Path, Card], None] = lambda run, folder, card: None
    warnings: Callable[[Run, Card], Iterable[str]] = lambda run, card: ()


def check_options(request: Request, app: str, taken: tuple[str, ...]) -> None:
    """Refuse options that mean nothing to an application.

    Raises
    ------
    VigieError: one was given.
    """
    given = {name: value for name, value in request.options.items() if value is not None and name not in taken}
    if given:
        raise VigieError(
            f"'{app}' makes no use of {', '.join(given)}",
            found=", ".join(f"{name} {value}" for name, value in given.items()),
            expected=f"no options but {', '.join((*taken, '--set'))}",
            do="leave it out",
        )
