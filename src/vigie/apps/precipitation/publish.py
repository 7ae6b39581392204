"""The precipitation `publish`: swath files, a gridded climatology, a catalogue and the report in `products/`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import xarray as xr

from vigie.apps.precipitation.prediction import folds_needed, held_out, retrieved
from vigie.apps.precipitation.report import Retrieval, report_of
from vigie.apps.precipitation.swaths import catalogued, opened, settings_of
from vigie.core.granule import Granule
from vigie.core.store import write_text
from vigie.core.vocabulary import named
from vigie.learn.folds import NEVER
from vigie.predict.swath import QUALITY
from vigie.publish.netcdf import write_netcdf
from vigie.publish.provenance import provenance
from vigie.publish.report import write_report
from vigie.publish.stac import Asset, Product, write_collection
from vigie.story.experiment import to_json
from vigie.story.run import Run
from vigie.story.scenes import fold_name
from vigie.verify.climatology import count_samples, finish_climatology
from vigie.verify.quantiles import draw
from vigie.verify.tally import Tally, add_all

UNKNOWN_PERIOD = ("1960-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
"""Period of a table whose year nobody wrote down: STAC wants one."""
WET_MM_H = 0.1
"""Least rain of a wet sample of the climatology."""


def publish(run: Run) -> None:
    """Write the products of every swath, the climatology, and the report on top of them."""
    folder, began = run.artefact("publish"), time.monotonic()
    products, counted, shown = [], [], []
    granules = catalogued(run)
    with run.progress.task("publish", len(granules)) as advance:
        for granule in granules:
            swath = together(run, granule)
            record = record_of(run, granule)
            path = folder / granule.id / "rain.nc"
            write_netcdf(path, swath, f"Rain retrieved from {granule.id}", record)
            for fold in folds_needed(run, granule):
                text = (run.artefact("train") / fold_name(fold) / "card.md").read_text(encoding="utf-8")
                write_text(folder / granule.id / f"model-card-{fold_name(fold)}.md", text)
            products.append(product_of(granule, path))
            counted += counts(swath, settings_of(run).publish.grid_deg)
            shown.append(Retrieval(granule, swath))
            advance(note=granule.id)
    climatology = write_climatology(run, counted, folder / "climatology.nc") if counted else None
    record = record_of(run, *granules)
    write_collection(folder, run.experiment.summary or run.experiment.name, products, record)
    write_report(report_of(run, shown, climatology, record, began), folder / "report.html")


def together(run: Run, granule: Granule) -> xr.Dataset:
    """Put what the folds' models held out of a swath together, with positions and, where they are known, rain rates.

    A swath without rain rates is the final model's whole. Where every fold learnt from a footprint there is no retrieval.
    """
    folds = folds_needed(run, granule)
    source = opened(run, granule)({})
    node = retrieved(run, granule, folds[0]).load()
    if folds != [NEVER]:
        owner = held_out(run, granule.id)
        made = node.where(xr.DataArray(owner == folds[0], dims=("scan", "pixel")))
        for fold in folds[1:]:
            made = made.where(xr.DataArray(owner != fold, dims=("scan", "pixel")), retrieved(run, granule, fold).load())
        made["quality_flag"] = made["quality_flag"].fillna(QUALITY["no_retrieval"]).astype(np.uint8)
        told = {name: made[name].assign_attrs(node[name].attrs) for name in node.data_vars}
        node = made.assign(told).assign_attrs(node.attrs | {"model": ", ".join(map(fold_name, folds))})
    swath = node.assign_coords({name: source[name] for name in ("latitude", "longitude")})
    if "truth" in source:
        swath["truth"] = source["truth"].assign_attrs(named("truth_rate").attributes | {"label_source": granule.label_source})
    return swath.drop_vars([name for name in swath.coords if swath[name].dtype.kind in "TO"] + ["experiment"], errors="ignore")


def counts(swath: xr.Dataset, cell_deg: float) -> list[Tally]:
    """Count a sample of every predicted distribution into the climatology: means have no extremes."""
    usable = (swath["quality_flag"] < QUALITY["out_of_distribution"]).values
    if not usable.any():
        return []
    quantiles = swath["rainfall_rate_quantile"].values[:, usable].astype(np.float64)
    # Each swath has draws of its own: shared ones would not average out.
    (sample,) = draw(quantiles, swath["quantile"].values, draws=1, seed=crc32(str(swath.attrs["swath"]).encode()))
    latitude, longitude = (swath[name].values[usable] for name in ("latitude", "longitude"))
    return [count_samples(sample, latitude, longitude, cell_deg)]


def write_climatology(run: Run, counted: list[Tally], path: Path) -> xr.Dataset:
    """Finish the climatology and write it."""
    found = finish_climatology(add_all(counted), WET_MM_H)
    for name, attributes in {
        "count": {"long_name": "retrievals", "units": "1"},
        "mean": {"long_name": "mean rain rate", "units": "mm h-1"},
        "wet_fraction": {"long_name": f"share of retrievals of {WET_MM_H} mm h-1 and more", "units": "1"},
        "rain_quantile": {"long_name": "quantile of the rain rate, dry ones included", "units": "mm h-1"},
    }.items():
        found[name].attrs = attributes
    write_netcdf(path, found, f"Climatology of {run.experiment.name}", record_of(run, *catalogued(run)))
    return found


def record_of(run: Run, *granules: Granule) -> dict[str, Any]:
    """Record where products come from."""
    record = provenance(to_json(run.experiment), created=datetime.now(UTC), catalogue=run.artefact("acquire"))
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
