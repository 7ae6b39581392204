"""A trained model on somebody's own images: the same stages, without training, to the same products."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vigie.core.errors import VigieError
from vigie.core.store import make_folder, write_text
from vigie.learn.folds import NEVER
from vigie.learn.model import read_card
from vigie.predict.scene import cached_model
from vigie.story.app import App, perform
from vigie.story.forests import check_known
from vigie.story.progress import Progress
from vigie.story.reading import override, validate
from vigie.story.run import ARTEFACTS, NOTES, Run, log
from vigie.story.scenes import catalogued, fold_name, settings_of

TRAINED = "train"
OWN = ("acquire", "harmonize", "predict", "publish")
"""Stages that leave an artefact of their own: the model is borrowed, and there is nothing to verify."""
OF_THE_MODEL = ("patch", "overlap")
"""Settings of prediction that the maps depend on; the others belong to the machine that trained the model."""
NEEDED = ("experiment", "origin.app", "origin.harmonize", *(f"origin.predict.{key}" for key in OF_THE_MODEL))
"""Facts of a model's card that its application is made from."""
USED = ("app", "name", "summary", "seed", "engine", "acquire", "harmonize", "predict", "publish")
"""Tables of an experiment that an application of a model uses; how the model was trained stands in its card."""
OF_THE_PLACE = ("crs", "bounds")
"""Settings of the grid that say where the training lay; its pixel size is part of what the model learnt."""


@dataclass(frozen=True)
class Request:
    """What to map: images, and what their names may not tell."""

    scenes: tuple[str, ...]
    sensor: str = "auto"
    dem: Path | None = None
    date: str | None = None
    outlines: Path | None = None
    overrides: tuple[str, ...] = ()


def apply(model: Path, request: Request, out: Path, progress: Progress) -> Run:
    """Map images with a trained model, to finished products in `out`.

    Parameters
    ----------
    model: a run folder, its `model/`, or the folder of one model (with `card.json`).
    request: the images.
    out: the folder of the new run.

    Raises
    ------
    VigieError: there is no model, its files are broken, it is for another legend or for other bands, an image cannot be read,
        or `out` holds maps of another model, or a trained model.
    """
    folder = find_model(model)
    check_apart(out)
    card = read_card(folder)
    check_origin(folder, card)
    app, experiment = validate(experiment_of(card, request, out), "vigie apply")
    run = Run(experiment, out, progress, base=Path.cwd())
    predict = settings_of(run).predict
    loaded = cached_model(folder, predict.device, predict.precision)
    check_legend(folder, card, app)
    _tell_grid(card)
    run.check_own(OWN)
    with run.leaving_nothing():
        _borrow(folder, card, run)
        perform(app, run, ("acquire",))
        # A forest refuses bands that it does not know, before they are copied.
        check_known(loaded, catalogued(run), settings_of(run).harmonize)
        write_text(_command_note(run), command_of(model, request, out))
        perform(app, run, ("harmonize",))
    for warning in unseen(card, (scene.sensor for scene in catalogued(run))):
        log.info("apply: %s", warning)
    perform(app, run, ("predict", "publish"))
    return run


def command_of(model: Path, request: Request, out: Path) -> str:
    """Write the command line that asks for the same.

    Examples
    --------
    >>> command_of(Path("runs/demo"), Request(("my image.tif",), "spot-6", date="2021-08-21"), Path("mapped"))
    "vigie apply runs/demo 'my image.tif' --out mapped --sensor spot-6 --date 2021-08-21"
    """
    options = {"--out": out, "--sensor": request.sensor, "--dem": request.dem, "--date": request.date}
    given = {name: value for name, value in (options | {"--outlines": request.outlines}).items() if value is not None}
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


def check_origin(model: Path, card: Mapping[str, Any]) -> None:
    """Refuse a card that does not tell how scenes are prepared for its model."""
    lacking = [f"facts.{place}" for place in NEEDED if not _holds(card["facts"], place.split("."))]
    if lacking:
        raise VigieError(
            f"the card of the model in {model} does not tell how images are prepared for it",
            found=f"no {', '.join(lacking)}",
            expected="a card written by `vigie run`",
            do="copy the whole model folder again, or train again",
        )


def _holds(content: object, keys: Sequence[str]) -> bool:
    """Say whether there is something at the end of a way through tables."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            return False
        content = content[key]
    return True


def experiment_of(card: dict[str, Any], request: Request, out: Path) -> dict[str, Any]:
    """Write the experiment of an application of a model: the model's own way of preparing scenes, the user's images.

    What names scenes or the place of the training is left out, co-registration and the grid's CRS and bounds, and so are
    settings of the machine that it was trained on.
    """
    origin = dict(card["facts"]["origin"])
    networks = [member["network"] | {"weights": "none"} for member in card["members"].values()]
    source = {"images": list(request.scenes), "sensor": request.sensor}
    if request.dem is not None:
        source["dem"] = str(request.dem.resolve())
    if request.date is not None:
        source["date"] = request.date
    content = {
        "app": origin["app"],
        "name": out.resolve().name or "applied",
        "summary": f"Mapped with a model of the run '{card['facts']['experiment']}'.",
        "acquire": {"sources": [source]},
        "harmonize": _without_place(origin["harmonize"]),
        "train": {
            "folds": {"by": "none"},
            "network": networks[0],
            "beside": networks[1:],
            "scaling": card["scaling"],
        },
        "predict": {key: origin["predict"][key] for key in OF_THE_MODEL},
    }
    if request.outlines is not None:
        content["publish"] = {"outlines": str(request.outlines.resolve())}
    return _with_overrides(content, request.overrides)


def _without_place(harmonize: dict[str, Any]) -> dict[str, Any]:
    grid = {key: value for key, value in harmonize.get("grid", {}).items() if key not in OF_THE_PLACE}
    return {key: value for key, value in harmonize.items() if key != "coregister"} | {"grid": grid}


def _with_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    for text in overrides:
        override(content, text)
    return content


def check_legend(model: Path, card: dict[str, Any], app: App) -> None:
    """Refuse a model that tells other classes apart than its application maps."""
    if app.legend is not None and card["legend"] != json.loads(json.dumps(asdict(app.legend))):
        raise VigieError(
            f"the model in {model} is for another legend",
            found=", ".join(leaf["name"] for leaf in card["legend"]["classes"]),
            expected=f"the classes of '{app.name}': {', '.join(app.legend.names)}",
            do="train a model with this version of vigie, or use the version that trained it",
        )


def _borrow(model: Path, card: dict[str, Any], run: Run) -> None:
    """Point the run's model at the trained one: a link, so that weights are not copied."""
    place, note = run.artefact(TRAINED) / fold_name(NEVER), run.folder / NOTES / "borrowed.json"
    weights = json.dumps({"members": card["members"], "calibration": card["calibration"]}, sort_keys=True)
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


def _tell_grid(card: dict[str, Any]) -> None:
    """Say that a grid which the training was given does not count for other images."""
    grid = card["facts"]["origin"]["harmonize"].get("grid", {})
    left = {key: grid[key] for key in OF_THE_PLACE if grid.get(key) is not None}
    if left:
        told = ", ".join(f"{key} = {value}" for key, value in left.items())
        log.info("apply: the training's grid does not count, images keep their own (--set harmonize.grid.*): %s", told)


def unseen(card: Mapping[str, Any], sensors: Iterable[str]) -> list[str]:
    """Say which sensors a model never saw, one by one.

    Examples
    --------
    >>> unseen({"facts": {"sensors": ["landsat-8"]}}, ["landsat-8", "spot-6"])
    ['the model never saw spot-6 (it learnt from landsat-8): test its maps before use']
    """
    seen = card["facts"].get("sensors", [])
    told = "the model never saw {} (it learnt from {}): test its maps before use"
    return [told.format(sensor, ", ".join(seen)) for sensor in sorted(set(sensors) - set(seen))]
