"""The glaciers `publish`: maps, inventories, histories, catalogue and report in `products/`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import shapely

from vigie.apps.glaciers.classes import LEGEND
from vigie.apps.glaciers.histories import Epochs, areas_of, follow
from vigie.apps.glaciers.history.plot import plot_history, write_plot
from vigie.apps.glaciers.history.write import write_history
from vigie.apps.glaciers.inventories import (
    Surface,
    check_outlines,
    deviations_of,
    inventory_of,
    outline_files,
    settings_of,
    surface_of,
)
from vigie.apps.glaciers.inventory import earth
from vigie.apps.glaciers.inventory.build import Inventory
from vigie.apps.glaciers.inventory.write import write_inventory
from vigie.apps.glaciers.report import Findings, report_of
from vigie.core.store import write_text
from vigie.publish.report import write_report
from vigie.publish.stac import Asset, Product, scene_product, write_collection
from vigie.story.products import part_provenance, write_model_card, write_rasters
from vigie.story.run import Run, log
from vigie.story.scenes import parts_of
from vigie.story.scenes import settings_of as shared_settings_of

SATELLITE_AGE = ("1957-10-04T00:00:00Z", "2100-01-01T00:00:00Z")
"""Period of an image whose date nobody knows: STAC wants one, and no satellite flew before Sputnik."""


def publish(run: Run) -> None:
    """Write the products of every part and area, and the report on top of them."""
    check_outlines(run)
    run.note_files("publish", outline_files(run))
    folder, began = run.artefact("publish"), time.monotonic()
    parts = parts_of(run, shared_settings_of(run).train.folds)
    surfaces, inventories, deviations, products = [], [], [], []
    with run.progress.task("publish", len(parts)) as advance:
        for part in parts:
            surface = surface_of(run, part)
            inventory = inventory_of(run, surface)
            assets = write_rasters(run, part, LEGEND, folder / part.name)
            assets |= written_inventory(inventory, folder / part.name)
            compared = deviations_of(run, surface, inventory)
            assets |= written_deviations(compared, folder / part.name)
            write_model_card(run, part, folder / part.name)
            products.append(product_of(surface, assets))
            surfaces.append(surface)
            inventories.append(inventory)
            deviations.append(compared)
            told(part.name, inventory)
            advance(note=part.name)
    epochs = [followed(run, name, area, folder) for name, area in areas_of(surfaces).items()]
    write_collection(folder, run.experiment.summary or run.experiment.name, products, part_provenance(run, parts[0]))
    write_report(report_of(run, Findings(surfaces, inventories, deviations, epochs), began), folder / "report.html")


def written_inventory(inventory: Inventory, folder: Path) -> dict[str, Asset]:
    """Write an inventory below a part's folder; give its main file as an asset."""
    write_inventory(inventory, folder / "inventory")
    return {
        "inventory": Asset(
            folder / "inventory" / "inventory.gpkg", "glaciers, complexes, shared borders, centrelines and lakes"
        )
    }


def written_deviations(compared: pd.DataFrame | None, folder: Path) -> dict[str, Asset]:
    """Write how mapped areas differ from known outlines, where there are any; give the file as an asset."""
    if compared is None:
        return {}
    path = folder / "area_deviation.csv"
    write_text(path, compared.to_csv(index=False))
    return {"area_deviation": Asset(path, "mapped area of each known outline beside its own")}


def product_of(surface: Surface, assets: dict[str, Asset]) -> Product:
    """Describe a part's products for the catalogue."""
    scene = surface.scene
    product = scene_product(scene, f"glacier map of {surface.part.name}", assets, None if scene.datetime else SATELLITE_AGE)
    return Product(
        surface.part.name, product.title, footprint_of(surface), assets, product.datetime, product.period, product.properties
    )


def footprint_of(surface: Surface) -> dict[str, object]:
    """Outline of a part in longitude and latitude."""
    return dict(json.loads(shapely.to_geojson(earth.footprint(surface.grid))))


def followed(run: Run, name: str, area: list[Surface], folder: Path) -> Epochs:
    """Follow one area through time and write what was found."""
    epochs = follow(run, name, area, settings_of(run).history)
    place = folder / "history" / name
    for what, history in epochs.histories.items():
        write_history(history, place / what)
        write_plot(plot_history(history), place / what / "series.png", dpi=150)
    for day, inventory in epochs.inventories.items():
        write_inventory(inventory, place / day.isoformat())
    log.info("publish: %s followed through %d maps of %d days", name, len(area), len(epochs.inventories))
    return epochs


def told(name: str, inventory: Inventory) -> None:
    """Say what an inventory holds."""
    glaciers, lakes = inventory.glaciers, inventory.lakes
    log.info(
        "publish: %s has %d glaciers, %.2f km2, and %d lakes, %.3f km2",
        name,
        len(glaciers),
        glaciers["area_km2"].sum(),
        len(lakes),
        lakes["area_km2"].sum(),
    )
