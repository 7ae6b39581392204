"""The precipitation `publish`: swath files, gridded climatologies, a catalogue and the report in `products/`.

Swaths are read and written some scans at a time: memory holds one block of them, and of each swath no more than its positions
and what the report draws.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vigie.apps.precipitation.climatology import TITLES, Kind, cells_around, write_climatology, write_maps
from vigie.apps.precipitation.composed import composed, facts_of
from vigie.apps.precipitation.prediction import folds_needed
from vigie.apps.precipitation.report import report_of
from vigie.apps.precipitation.shown import MAPS, Shown, Watch
from vigie.apps.precipitation.swaths import catalogued, settings_of
from vigie.core.granule import Granule
from vigie.core.store import write_text
from vigie.core.tiles import tiles
from vigie.core.vocabulary import named
from vigie.publish.netcdf import CHUNK, netcdf_stream
from vigie.publish.provenance import flat, provenance
from vigie.publish.report import write_report
from vigie.publish.stac import Asset, Product, write_collection
from vigie.story.apply import used_tables
from vigie.story.experiment import to_json
from vigie.story.run import Run
from vigie.story.scenes import fold_name
from vigie.verify.climatology import Cells

UNKNOWN_PERIOD = ("1960-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
"""Period of a table whose year nobody wrote down: STAC wants one."""
RAIN = "rain.nc"
"""File of a swath."""


def publish(run: Run) -> None:
    """Write the products of every swath, the climatologies, and the report on top of them."""
    folder, began = run.artefact("publish"), time.monotonic()
    granules, record = catalogued(run), record_of(run, *catalogued(run))
    shown, products = [], []
    with run.progress.task("publish", len(granules)) as advance:
        for number, granule in enumerate(granules):
            shown.append(write_swath(run, granule, folder / granule.id, drawn=number < MAPS))
            products.append(product_of(granule, folder / granule.id / RAIN))
            advance(note=granule.id)
    products += climatologies(run, granules, record)
    write_collection(folder, run.experiment.summary or run.experiment.name, products, record)
    write_report(report_of(run, shown, record, began), folder / "report.html")


def write_swath(run: Run, granule: Granule, folder: Path, drawn: bool) -> Shown:
    """Write a swath's file block by block, and the cards of its models; give what the report tells and draws of it."""
    swath, record = composed(run, granule), record_of(run, granule)
    template = swath.template(facts_of(run, granule))
    watch = Watch(granule, template, drawn)
    with netcdf_stream(folder / RAIN, template, f"Rain retrieved from {granule.id}", record) as write:
        for tile in tiles({"scan": granule.scans}, {"scan": CHUNK}):
            block = swath(tile.keep)
            write(tile.keep, block)
            watch.look(tile.keep["scan"], block)
    for fold in folds_needed(run, granule):
        text = (run.artefact("train") / fold_name(fold) / "card.md").read_text(encoding="utf-8")
        write_text(folder / f"model-card-{fold_name(fold)}.md", text)
    return watch.shown()


def climatologies(run: Run, granules: Sequence[Granule], record: Mapping[str, Any]) -> list[Product]:
    """Write the climatologies that are asked for; give each as a product of the catalogue."""
    settings, products = settings_of(run).publish, []
    folder = run.artefact("publish")
    cells = cells_around(granules, settings.grid_deg)
    files = [(granule, folder / granule.id / RAIN) for granule in granules]
    for kind in settings.periods:
        assets = write_climatology(kind, files, cells, folder / "climatology", settings.formats, record)
        if assets and kind != "day" and cells.rows * cells.columns > 1:
            assets |= write_maps(assets["netcdf"].path, folder / "climatology", flat(record))
        if assets:
            products.append(climatology_product(kind, granules, cells, assets))
    return products


def record_of(run: Run, *granules: Granule) -> dict[str, Any]:
    """Record where products come from."""
    experiment = to_json(run.experiment, used_tables(run))
    record = provenance(experiment, created=datetime.now(UTC), catalogue=run.artefact("acquire"))
    inputs = [
        {
            "id": granule.id,
            "sensor": granule.sensor,
            "datetime": granule.begin,
            "licence": granule.licence,
            "sha256": {granule.href: granule.sha256},
        }
        for granule in granules
    ]
    return record | {"inputs": inputs}


def product_of(granule: Granule, path: Path) -> Product:
    """Describe a swath's product for the catalogue."""
    assets = {"rain": Asset(path, named("rainfall_rate").long_name)}
    period = (granule.begin, granule.end) if granule.begin and granule.end else UNKNOWN_PERIOD
    footprint = json.loads(json.dumps(granule.footprint))
    return Product(granule.id, f"rain of {granule.id}", footprint, assets, None, period, {"instruments": [granule.sensor]})


def climatology_product(kind: Kind, granules: Sequence[Granule], cells: Cells, assets: Mapping[str, Asset]) -> Product:
    """Describe a climatology for the catalogue."""
    known = [(granule.begin, granule.end) for granule in granules if granule.begin and granule.end]
    period = (min(begin for begin, _ in known), max(end for _, end in known)) if known else UNKNOWN_PERIOD
    south, west = cells.south, cells.west
    north, east = south + cells.rows * cells.cell_deg, west + cells.columns * cells.cell_deg
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    properties = {"instruments": sorted({granule.sensor for granule in granules})}
    footprint = {"type": "Polygon", "coordinates": [ring]}
    return Product(f"climatology-{kind}", TITLES[kind], footprint, assets, None, period, properties)
