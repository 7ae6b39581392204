"""The sea-ice `publish`: every forecast as CF NetCDF, ice edges as lines, a catalogue, and the report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr
from contourpy import LineType, contour_generator
from numpy.typing import NDArray
from shapely.geometry import MultiLineString

from vigie.apps.seaice.fields import catalogued, settings_of
from vigie.apps.seaice.prediction import GROUP, starts, unpacked
from vigie.apps.seaice.report import report_of
from vigie.core.store import whole_file
from vigie.publish.netcdf import write_netcdf
from vigie.publish.provenance import provenance
from vigie.publish.report import write_report
from vigie.publish.stac import Asset, Product, write_collection
from vigie.publish.vector import write_layer
from vigie.story.experiment import to_json
from vigie.story.run import Run

FORECAST, EDGES = "forecast.nc", "edges.gpkg"


def publish(run: Run) -> None:
    """Write the products of every start, and the report on top of them."""
    folder, began, record = run.artefact("publish"), time.monotonic(), record_of(run)
    products = []
    with run.progress.task("publish", len(starts(run))) as advance:
        for number, day in enumerate(starts(run)):
            place = folder / str(day)
            forecast = forecast_of(run, number)
            write_netcdf(place / FORECAST, forecast, f"Forecast of sea ice from {day}", record)
            with whole_file(place / EDGES) as draft:
                write_layer(edges_of(forecast), draft, "LineString", layer="ice_edge")
            products.append(product_of(run, day, place))
            advance(note=str(day))
    write_collection(folder, run.experiment.summary or run.experiment.name, products, record)
    write_report(report_of(run, record, began), folder / "report.html")


def forecast_of(run: Run, number: int) -> xr.Dataset:
    """Read one start's forecast, as it is stored, with the times that it is valid for."""
    node = xr.open_zarr(run.artefact("predict"), group=GROUP, consolidated=False, chunks=None, mask_and_scale=False)
    one: xr.Dataset = node.isel(forecast_reference_time=number)
    valid = one["forecast_reference_time"].values + one["lead_time"].values
    one = one.assign_coords(time=("lead_time", valid, {"standard_name": "time", "long_name": "time of validity"}))
    one.attrs = {}
    return one


def edges_of(forecast: xr.Dataset) -> gpd.GeoDataFrame:
    """Draw where ice is as probable as not, a row a lead."""
    x, y = forecast["x"].values, forecast["y"].values
    rows = []
    for at, lead in enumerate(forecast["lead_time"].values):
        part = forecast.isel(lead_time=at)
        lines = list(edge_lines(x, y, unpacked(part["probability_of_ice"])))
        days = int(lead / np.timedelta64(1, "D"))
        rows.append({"lead_days": days, "valid": str(part["time"].values)[:10], "geometry": MultiLineString(lines)})
    return gpd.GeoDataFrame(rows, geometry="geometry", crs=forecast["spatial_ref"].attrs["crs_wkt"])


def edge_lines(x: NDArray[Any], y: NDArray[Any], probability: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Follow the line of probability one half (marching squares); coasts are no edge."""
    lines = contour_generator(x, y, np.ma.masked_invalid(probability), line_type=LineType.Separate).lines(0.5)
    yield from (np.asarray(line, dtype=np.float64) for line in lines)


def record_of(run: Run) -> dict[str, Any]:
    """Record where products come from."""
    record = provenance(to_json(run.experiment), created=datetime.now(UTC), catalogue=run.artefact("acquire"))
    inputs = [
        {"id": one.id, "sensor": one.product, "datetime": one.begin, "licence": one.licence, "sha256": {one.href: one.sha256}}
        for one in catalogued(run)
    ]
    return record | {"inputs": inputs}


def product_of(run: Run, day: np.datetime64, place: Path) -> Product:
    """Describe the forecast of a start for the catalogue."""
    assets = {
        "forecast": Asset(place / FORECAST, "mean, probability of ice, quantiles and members"),
        "edges": Asset(place / EDGES, "ice edges"),
    }
    footprint: Mapping[str, Any] = catalogued(run)[0].footprint
    period = f"{day}T00:00:00Z", f"{day + np.timedelta64(settings_of(run).predict.leads_days[-1], 'D')}T00:00:00Z"
    return Product(f"forecast-{day}", f"forecast from {day}", footprint, assets, None, period, {})
