"""A trained model on somebody's own images: the same stages, without training, to the same products."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vigie.core.errors import VigieError
from vigie.learn.folds import NEVER
from vigie.learn.model import read_card
from vigie.story.app import perform
from vigie.story.experiment import validate
from vigie.story.progress import Progress
from vigie.story.run import ARTEFACTS, Run
from vigie.story.scenes import fold_name

TRAINED = "train"


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
    VigieError: there is no model, an image cannot be read, or the model knows none of its bands.
    """
    folder = find_model(model)
    card = read_card(folder)
    app, experiment = validate(experiment_of(card, request, out), "vigie apply")
    run = Run(experiment, out, progress, base=Path.cwd())
    perform(app, run, ("acquire", "harmonize"))
    _borrow(folder, run)
    perform(app, run, ("predict", "publish"))
    return run


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


def experiment_of(card: dict[str, Any], request: Request, out: Path) -> dict[str, Any]:
    """Write the experiment of an application of a model: the model's own way of preparing scenes, the user's images."""
    origin = dict(card["facts"]["origin"])
    source = {"images": list(request.scenes), "sensor": request.sensor}
    if request.dem is not None:
        source["dem"] = str(request.dem.resolve())
    if request.date is not None:
        source["date"] = request.date
    content = {
        "app": origin["app"],
        "name": out.name or "applied",
        "summary": f"Mapped with a model of the run '{card['facts']['experiment']}'.",
        "acquire": {"sources": [source]},
        "harmonize": origin["harmonize"],
        "train": {"folds": {"by": "none"}},
        "predict": origin["predict"],
    }
    if request.outlines is not None:
        content["publish"] = {"outlines": str(request.outlines.resolve())}
    return _with_overrides(content, request.overrides)


def _with_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    from vigie.story.experiment import override

    for text in overrides:
        override(content, text)
    return content


def _borrow(model: Path, run: Run) -> None:
    """Point the run's model at the trained one: a link, so that weights are not copied."""
    place = run.artefact(TRAINED) / fold_name(NEVER)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.exists():
        if place.resolve() == model:
            return
        raise VigieError(
            f"{run.folder} holds maps of another model", found=place.resolve(), expected=model, do="choose another --out"
        )
    place.symlink_to(model, target_is_directory=True)
