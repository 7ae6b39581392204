"""A trained retrieval on somebody's own granules, swaths or tables: how `vigie apply` serves this application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vigie.acquire.granules.recognise import open_swath
from vigie.acquire.swath_sources import gather_granules, granules_hash, write_granules
from vigie.apps.precipitation.prediction import shown_of
from vigie.apps.precipitation.swaths import catalogued, settings_of
from vigie.core.errors import VigieError
from vigie.core.granule import Granule
from vigie.learn.retrieval_inputs import Inputs
from vigie.learn.retrieval_model import load, read_card
from vigie.story.applying import Applying, Card, Request
from vigie.story.run import Run, log

IMAGE_SIZE = 64
"""Networks of images say how large their samples were; where nothing is learnt any size will do."""


def knows(card: Mapping[str, Any]) -> bool:
    """Say whether a card is that of a retrieval: it tells its inputs, and when to doubt."""
    return {"inputs", "scaling", "familiar"} <= set(card)


def experiment_of(card: Card, request: Request, out: Path) -> dict[str, Any]:
    """Write the experiment of an application of a model: its networks and inputs, the user's files, nothing held out."""
    kinds: list[dict[str, Any]] = []
    for member in card["members"].values():
        kind = {"network": member["network"], "head": member["head"], **member["view"]}
        kinds += [] if kind in kinds else [kind]
    source: dict[str, Any] = {"files": list(request.scenes)}
    if request.label_source is not None:
        source["label_source"] = request.label_source
    image = any(kind["network"]["name"] != "pixel" for kind in kinds)
    drawing = card["facts"].get("generative", "no")
    return {
        "app": "precipitation",
        "name": out.resolve().name or "applied",
        "summary": f"Retrieved with a model of the run '{card['facts'].get('experiment', 'of unknown name')}'.",
        "acquire": {"sources": [source]},
        "train": {
            **kinds[0],
            "more": kinds[1:],
            "folds": {"by": "none"},
            "windows": {"size": IMAGE_SIZE if image or drawing != "no" else 1},
            **({"generative": drawing} if drawing != "no" else {}),
        },
        "predict": {key: value for key, value in predicted(card).items() if key in ("levels", "members")},
    }


def predicted(card: Card) -> Mapping[str, Any]:
    """Take how the model's own run kept distributions, where its card tells."""
    found: Mapping[str, Any] = card["facts"].get("origin", {}).get("predict", {})
    return found


def acquire(run: Run) -> None:
    """Find the swaths that were named and leave them in `catalog.parquet`; they need no rain rates."""
    granules = gather_granules(settings_of(run).acquire.sources, run.base)
    write_granules(granules, run.artefact("acquire"))
    run.note_files("acquire", [Path(granule.href) for granule in granules])
    run.note_digest(granules_hash(granules))
    for granule in granules:
        log.info("acquire: %s, %d x %d %s", granule.id, granule.scans, granule.pixels, granule.sensor)


def check(run: Run, folder: Path, card: Card) -> None:
    """Refuse swaths without temperatures, without a channel that the model knows, or without fields that it needs.

    Raises
    ------
    VigieError: see above.
    """
    needed = Inputs.from_json(card["inputs"]).needed()
    for granule in catalogued(run):
        if not granule.channels:
            raise VigieError(f"swath '{granule.id}' holds no brightness temperatures", found=granule.product, do="leave it out")
        shown_of(granule, granule.channels, card)
        lacking = [name for name in needed if name not in fields_of(granule)]
        if lacking:
            raise VigieError(
                f"swath '{granule.id}' lacks ancillary fields",
                found=f"no {', '.join(lacking)}",
                expected=f"all that the model learnt from: {', '.join(needed)}",
                do="add the fields to the swath, or use a model of temperatures alone",
            )


def fields_of(granule: Granule) -> set[str]:
    """Name what a granule holds, by its first scan."""
    return set(map(str, open_swath(Path(granule.href), slice(0, 1), granule.label_source).data_vars))


def check_model(run: Run, folder: Path, card: Card) -> None:
    """Refuse a model whose weights are missing or not those of its card."""
    load(folder)


APPLYING = Applying(
    options=("--label-source",),
    knows=knows,
    read_card=read_card,
    experiment=experiment_of,
    acquire=acquire,
    check_model=check_model,
    check=check,
)
"""How `vigie apply` serves this application."""
