"""A history on disk: one GeoPackage with every table, and the series as CSV for spreadsheets."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd

from vigie.apps.glaciers.history.build import History
from vigie.core.store import whole_file
from vigie.publish.vector import write_layer


def write_history(history: History, folder: Path) -> dict[str, Path]:
    """Write `history.gpkg` (layers outlines, objects, total, events), `objects.csv`, `total.csv` and `events.csv`.

    Each file appears whole or not at all. Flagged samples stay in every table, marked, beside their repaired value.

    Returns
    -------
    The files by what they hold.
    """
    tables = {"objects": history.objects, "total": history.total, "events": history.events}
    files = {"history": folder / "history.gpkg"}
    with whole_file(files["history"]) as draft:
        for name, table in ({"outlines": history.outlines} | tables).items():
            write_layer(_dated(table), draft, layer=name)
    for name, table in tables.items():
        files[name] = folder / f"{name}.csv"
        with whole_file(files[name]) as draft:
            table.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")
    return files


def _dated(table: pd.DataFrame) -> pd.DataFrame:
    """Dates as the file format's own type, and optional booleans as 0, 1 or empty."""
    converted = table.assign(date=pd.to_datetime(table["date"]))
    if "point_covered" in converted:
        converted["point_covered"] = converted["point_covered"].astype("Int8").astype("Int32")
    return gpd.GeoDataFrame(converted, geometry="geometry", crs=table.crs) if isinstance(table, gpd.GeoDataFrame) else converted
