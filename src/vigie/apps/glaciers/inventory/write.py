"""Inventories to files: a GeoPackage, GeoParquet, and the RGI's own set of shapefiles with their side files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio

from vigie.apps.glaciers.inventory import earth, schema
from vigie.apps.glaciers.inventory.build import Inventory
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.core.errors import VigieError
from vigie.core.store import whole_file, whole_folder, write_text
from vigie.publish.vector import write_layer

PLANAR, LINEAR = "Polygon", "LineString"
GEOMETRY = {"intersects": LINEAR, "centrelines": LINEAR}
"""Tables that hold lines; the others hold polygons."""
TABLES = {
    "glaciers": ("glacier", "glacier_extra"),
    "complexes": ("complex", "complex_extra"),
    "intersects": ("intersects",),
    "centrelines": ("centrelines",),
    "lakes": ("lake",),
}
PRODUCTS = {"G": "glaciers", "C": "complexes", "I": "intersects", "L": "centrelines"}
"""The RGI's products by their letter."""
UNDATED = "1970-01-01"


def write_inventory(inventory: Inventory, folder: Path, rgi6_links: pd.DataFrame | None = None) -> list[Path]:
    """Write an inventory: `inventory.gpkg`, a GeoParquet file per table, and the `rgi/` shapefile set of each region.

    Every table is checked against the schema first; files appear whole or not at all, and the same inventory gives the same
    bytes. Geometries across the antimeridian are cut there.

    Parameters
    ----------
    inventory: what `glacier_inventory` gave.
    folder: made when missing; files of an earlier inventory in it are replaced.
    rgi6_links: overlaps with an earlier inventory, from `links`.

    Returns
    -------
    The files and folders written.
    """
    inventory = _cut_at_antimeridian(inventory)
    check(inventory)
    folder.mkdir(parents=True, exist_ok=True)
    written = [write_geopackage(inventory, folder / "inventory.gpkg"), *write_geoparquet(inventory, folder)]
    regions = sorted(set(inventory.glaciers["o1region"])) or [inventory.settings.o1region]
    for region in regions:
        written.append(write_rgi(_of_region(inventory, region), folder / "rgi" / _name(inventory, "G", region), rgi6_links))
    write_text(folder / "inventory.json", _description(inventory))
    return [*written, folder / "inventory.json"]


def _cut_at_antimeridian(inventory: Inventory) -> Inventory:
    """Bring every longitude within ±180°: many programs draw what goes beyond around the whole Earth."""
    tables = {name: getattr(inventory, name) for name in TABLES}
    shapes = {name: gpd.GeoSeries(earth.cut(table.geometry.to_numpy()), crs=table.crs) for name, table in tables.items()}
    return replace(inventory, **{name: table.set_geometry(shapes[name]) for name, table in tables.items()})


def check(inventory: Inventory) -> None:
    """Refuse an inventory whose tables break the schema."""
    for name, parts in TABLES.items():
        schema.validate(getattr(inventory, name), *parts)
    schema.validate_hypsometry(inventory.hypsometry)


def write_geopackage(inventory: Inventory, path: Path) -> Path:
    """Write all tables as layers of one GeoPackage; the hypsometry is a layer without geometry."""
    with whole_file(path) as draft, _dated(inventory):
        for name in TABLES:
            write_layer(getattr(inventory, name), draft, GEOMETRY.get(name, PLANAR), layer=name)
        write_layer(inventory.hypsometry, draft, layer="hypsometry")
    return path


def write_geoparquet(inventory: Inventory, folder: Path) -> list[Path]:
    """Write a GeoParquet file per table, and the hypsometry as Parquet."""
    paths = []
    for name in (*TABLES, "hypsometry"):
        path = folder / f"{name}.parquet"
        with whole_file(path) as draft:
            getattr(inventory, name).to_parquet(draft, index=False)
        paths.append(path)
    return paths


def write_rgi(inventory: Inventory, folder: Path, rgi6_links: pd.DataFrame | None = None) -> Path:
    """Write one region as the RGI does: G, C, I and L shapefiles, attribute tables and their metadata, side files.

    The shapefiles hold exactly the RGI's columns; what the RGI does not know goes to `-extra.csv`.
    """
    region = inventory.settings.o1region if inventory.glaciers.empty else str(inventory.glaciers["o1region"].iloc[0])
    with whole_folder(folder) as draft, _dated(inventory):
        for letter, name in PRODUCTS.items():
            _write_product(inventory, name, draft / _name(inventory, letter, region))
        _write_sides(inventory, draft / _name(inventory, "G", region), rgi6_links)
    return folder


def _write_product(inventory: Inventory, name: str, stem: Path) -> None:
    """Write one table with the RGI's own columns only, and what they mean."""
    table, product = getattr(inventory, name), TABLES[name][0]
    columns, day = schema.names(product), _day(inventory)
    path, geometry = stem.with_name(f"{stem.name}.shp"), GEOMETRY.get(name, PLANAR)
    write_layer(table[[*columns, "geometry"]], path, geometry, encoding="UTF-8", DBF_DATE_LAST_UPDATE=day)
    table[columns].to_csv(stem.with_name(f"{stem.name}-attributes.csv"), index=False)
    _write_json(stem.with_name(f"{stem.name}-attributes_metadata.json"), schema.metadata(product))


def _write_sides(inventory: Inventory, stem: Path, rgi6_links: pd.DataFrame | None) -> None:
    """Hypsometry, submissions, links and our own columns, each beside the glacier product."""
    tables = {"hypsometry": inventory.hypsometry, "submission_info": submissions(inventory)}
    tables["extra"] = inventory.glaciers[["rgi_id", *schema.names("glacier_extra")]]
    if rgi6_links is not None:
        schema.validate(rgi6_links, "rgi6_links")
        tables["rgi6_links"] = rgi6_links[rgi6_links["rgi7_id"].isin(inventory.glaciers["rgi_id"])]
    for name, table in tables.items():
        table.to_csv(stem.with_name(f"{stem.name}-{name}.csv"), index=False)
    _write_json(stem.with_name(f"{stem.name}-submission_info_metadata.json"), schema.metadata("submission_info"))
    _write_json(stem.with_name(f"{stem.name}-extra_metadata.json"), schema.metadata("glacier_extra"))


def submissions(inventory: Inventory) -> pd.DataFrame:
    """Count outlines and area of each submission, and say how they were made."""
    rows = inventory.glaciers.groupby("subm_id")["area_km2"].agg(n_outlines="count", area_km2="sum").reset_index()
    rows["anlys_time"] = inventory.settings.date
    rows["proc_desc"] = f"vigie inventory of {inventory.settings.source or 'a class map'}"
    return schema.conform(rows, schema.fields("submission_info"))


@contextmanager
def _dated(inventory: Inventory) -> Iterator[None]:
    """Stamp files with the image's date, so that the same inventory gives the same bytes on any day."""
    wanted = {"OGR_CURRENT_DATE": f"{_day(inventory)}T00:00:00.000Z"}
    before = {name: pyogrio.get_gdal_config_option(name) for name in wanted}
    pyogrio.set_gdal_config_options(wanted)
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


def _day(inventory: Inventory) -> str:
    return ((inventory.settings.date or UNDATED) + "-01-01")[:10]


def _of_region(inventory: Inventory, region: str) -> Inventory:
    """The part of an inventory in one first-order region."""
    glaciers = inventory.glaciers[inventory.glaciers["o1region"] == region].reset_index(drop=True)
    ids = set(glaciers["rgi_id"])
    return Inventory(
        glaciers=glaciers,
        complexes=inventory.complexes[inventory.complexes["o1region"] == region].reset_index(drop=True),
        intersects=inventory.intersects[inventory.intersects["rgi_g_id_1"].isin(ids)].reset_index(drop=True),
        centrelines=inventory.centrelines[inventory.centrelines["rgi_g_id"].isin(ids)].reset_index(drop=True),
        lakes=inventory.lakes,
        hypsometry=inventory.hypsometry[inventory.hypsometry["rgi_id"].isin(ids)].reset_index(drop=True),
        settings=inventory.settings,
    )


def _name(inventory: Inventory, letter: str, region: str) -> str:
    return f"{inventory.settings.collection}-{letter}-{region}"


def _description(inventory: Inventory) -> str:
    """Settings, counts and the meaning of every column, as JSON."""
    content = {
        "settings": inventory.settings.model_dump(),
        "counts": {name: len(getattr(inventory, name)) for name in TABLES},
        "columns": {name: schema.metadata(*parts) for name, parts in TABLES.items()},
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def read_inventory(folder: Path) -> Inventory:
    """Read back what `write_inventory` wrote, from its GeoParquet files."""
    if not (folder / "inventory.json").is_file():
        raise VigieError(f"no inventory in {folder}", expected="a folder that write_inventory made")
    settings = InventorySettings(**json.loads((folder / "inventory.json").read_text(encoding="utf-8"))["settings"])
    tables = {name: gpd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    return Inventory(**tables, hypsometry=pd.read_parquet(folder / "hypsometry.parquet"), settings=settings)
