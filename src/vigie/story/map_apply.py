"""Trained maps on somebody's own images: how `vigie apply` serves applications that map classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vigie.core.errors import VigieError
from vigie.core.legend import Legend
from vigie.learn.model import read_card
from vigie.predict.scene import cached_model
from vigie.story.applying import Applying, Card, Request
from vigie.story.forests import check_known
from vigie.story.run import Run, log
from vigie.story.scenes import catalogued, settings_of

OF_THE_MODEL = ("patch", "overlap")
"""Settings of prediction that the maps depend on; the others belong to the machine that trained the model."""
NEEDED = ("experiment", "origin.app", "origin.harmonize", *(f"origin.predict.{key}" for key in OF_THE_MODEL))
"""Facts of a model's card that its application is made from."""
OF_THE_PLACE = ("crs", "bounds")
"""Settings of the grid that say where the training lay; its pixel size is part of what the model learnt."""


def applying(name: str, legend: Legend, acquire: Callable[[Run], None]) -> Applying:
    """Say how models of an application serve other images: `name` and `legend` are its own, `acquire` finds its scenes."""
    return Applying(
        options=("--sensor", "--dem", "--date", "--outlines"),
        knows=lambda card: "legend" in card,
        read_card=whole_card,
        experiment=experiment_of,
        acquire=acquire,
        check_model=partial(check_model, name=name, legend=legend),
        check=check_bands,
        warnings=lambda run, card: unseen(card, (scene.sensor for scene in catalogued(run))),
    )


def whole_card(folder: Path) -> Card:
    """Read a card that tells how scenes are prepared for its model."""
    card = read_card(folder)
    check_origin(folder, card)
    return card


def check_model(run: Run, folder: Path, card: Card, name: str, legend: Legend) -> None:
    """Refuse a model that cannot be loaded, or that is for another legend."""
    predict = settings_of(run).predict
    cached_model(folder, predict.device, predict.precision)
    check_legend(folder, card, name, legend)
    _tell_grid(card)


def check_bands(run: Run, folder: Path, card: Card) -> None:
    """Refuse images with bands that a forest does not know, before they are copied."""
    predict = settings_of(run).predict
    check_known(cached_model(folder, predict.device, predict.precision), catalogued(run), settings_of(run).harmonize)


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
    return content


def _without_place(harmonize: dict[str, Any]) -> dict[str, Any]:
    grid = {key: value for key, value in harmonize.get("grid", {}).items() if key not in OF_THE_PLACE}
    return {key: value for key, value in harmonize.items() if key != "coregister"} | {"grid": grid}


def check_legend(model: Path, card: dict[str, Any], name: str, legend: Legend) -> None:
    """Refuse a model that tells other classes apart than its application maps."""
    if card["legend"] != json.loads(json.dumps(asdict(legend))):
        raise VigieError(
            f"the model in {model} is for another legend",
            found=", ".join(leaf["name"] for leaf in card["legend"]["classes"]),
            expected=f"the classes of '{name}': {', '.join(legend.names)}",
            do="train a model with this version of vigie, or use the version that trained it",
        )


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
