"""A trained model on somebody's own data: the same stages, without training, to the same products."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vigie.core.errors import VigieError
from vigie.core.store import make_folder, write_text
from vigie.learn.cards import no_card
from vigie.learn.folds import NEVER
from vigie.story.app import App, app_names, find_app, perform
from vigie.story.applying import Applying, Request, check_options
from vigie.story.progress import Progress
from vigie.story.reading import override, validate
from vigie.story.run import ARTEFACTS, NOTES, Run, log
from vigie.story.scenes import fold_name

TRAINED = "train"
OWN = ("acquire", "harmonize", "predict", "publish")
"""Stages that leave an artefact of their own: the model is borrowed, and there is nothing to verify."""
USED = ("app", "name", "summary", "seed", "engine", "acquire", "harmonize", "predict", "publish")
"""Tables of an experiment that an application of a model uses; how the model was trained stands in its card."""
ESSENTIAL = ("members", "calibration", "familiar", "covering")
"""What of a card decides what a model says; weights are known by their hash."""


def apply(model: Path, request: Request, out: Path, progress: Progress) -> Run:
    """Let a trained model serve somebody's own data, to finished products in `out`.

    Parameters
    ----------
    model: a run folder, its `model/`, or the folder of one model (with `card.json`).
    request: the data.
    out: the folder of the new run.

    Raises
    ------
    VigieError: there is no model, its files are broken, or its application refuses it, the data, or an option; or `out` holds
        products of another model, or a trained model.
    """
    folder = find_model(model)
    check_apart(out)
    app, applying = app_of(folder)
    check_options(request, app.name, applying.options)
    card = applying.read_card(folder)
    app, experiment = validate(with_overrides(applying.experiment(card, request, out), request.overrides), "vigie apply")
    app, run = replace(app, acquire=applying.acquire), Run(experiment, out, progress, base=Path.cwd())
    applying.check_model(run, folder, card)
    run.check_own(OWN)
    with run.leaving_nothing():
        _borrow(folder, card, run)
        perform(app, run, ("acquire",))
        applying.check(run, folder, card)
        write_text(_command_note(run), command_of(model, request, out))
        perform(app, run, ("harmonize",))
    for warning in applying.warnings(run, card):
        log.info("apply: %s", warning)
    perform(app, run, ("predict", "publish"))
    return run


def app_of(folder: Path) -> tuple[App, Applying]:
    """Find the application of a model: the one that its card names, else the one that knows such cards.

    Raises
    ------
    VigieError: the card is none, or its application does not serve other data, or none knows it.
    """
    path = folder / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        named = card.get("facts", {}).get("origin", {}).get("app")
    except (OSError, ValueError, AttributeError) as error:
        raise no_card(path, error) from error
    for app in map(find_app, [named] if named else app_names()):
        if app.applying is not None and (named or app.applying.knows(card)):
            return app, app.applying
    raise VigieError(
        f"no application can apply the model in {folder}",
        found=f"a model of '{named}'" if named else f"a card with {', '.join(sorted(card))}",
        expected=f"a model of {', '.join(app_names())}",
        do="see `vigie apps`",
    )


def with_overrides(content: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set keys of an experiment as `--set` asks."""
    for text in overrides:
        override(content, text)
    return content


def command_of(model: Path, request: Request, out: Path) -> str:
    """Write the command line that asks for the same.

    Examples
    --------
    >>> command_of(Path("runs/demo"), Request(("my image.tif",), "spot-6", date="2021-08-21"), Path("mapped"))
    "vigie apply runs/demo 'my image.tif' --out mapped --sensor spot-6 --date 2021-08-21"
    """
    given = {name: value for name, value in ({"--out": out} | request.options).items() if value is not None}
    words = [word for option in given.items() for word in option]
    words += [word for text in request.overrides for word in ("--set", text)]
    return shlex.join(map(str, ("vigie", "apply", model, *request.scenes, *words)))


def given_command(run: Run) -> str | None:
    """The command line that made an application of a model; None for other runs."""
    note = _command_note(run)
    return note.read_text(encoding="utf-8") if note.is_file() else None


def used_tables(run: Run) -> tuple[str, ...] | None:
    """Tables of the experiment that a run used; None for all of them."""
    return None if given_command(run) is None else USED


def _command_note(run: Run) -> Path:
    return run.folder / NOTES / "apply.txt"


def find_model(path: Path) -> Path:
    """Find the folder that holds a model's card: the final model of a run, or the folder itself."""
    final = fold_name(NEVER)
    for candidate in (path, path / final, path / ARTEFACTS[TRAINED] / final):
        if (candidate / "card.json").is_file():
            return candidate.resolve()
    raise VigieError(
        f"there is no trained model in {path}",
        expected=f"a run folder with {ARTEFACTS[TRAINED]}/{final}, or a folder with card.json",
        do="train one with `vigie run` (train.final = true)",
    )


def check_apart(out: Path) -> None:
    """Refuse to map into the folder of a trained model: a run removes what is of other settings, and training writes it anew.

    A model that is only borrowed, through a link, is that of maps.
    """
    whole = out.resolve()
    below = [place for place in (out / fold_name(NEVER), *(out / ARTEFACTS[TRAINED]).glob("*")) if not place.is_symlink()]
    own = next((place for place in (*below, whole, *whole.parents) if (place / "card.json").is_file()), None)
    if own is not None:
        raise VigieError(
            f"--out {out} is where a trained model lies",
            found=own,
            expected="a folder of its own for the maps",
            do="choose another --out, and leave this folder as it is",
        )


def _borrow(model: Path, card: dict[str, Any], run: Run) -> None:
    """Point the run's model at the trained one: a link, so that weights are not copied."""
    place, note = run.artefact(TRAINED) / fold_name(NEVER), run.folder / NOTES / "borrowed.json"
    weights = json.dumps({key: card[key] for key in ESSENTIAL if key in card}, sort_keys=True)
    if (place.is_symlink() or place.exists()) and not (note.is_file() and note.read_text(encoding="utf-8") == weights):
        raise VigieError(
            f"{run.folder} holds maps of another model",
            found=place.resolve(),
            expected=f"{model} as it is now",
            do="choose another --out, or delete this folder",
        )
    if place.resolve() != model:
        place.unlink(missing_ok=True)
        make_folder(place.parent)
        place.symlink_to(model, target_is_directory=True)
    write_text(note, weights)
