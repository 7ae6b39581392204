"""Mapped areas against known outlines: closed forms on squares, what is left out, and Everest's own outlines."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from vigie.apps.glaciers.classes import LEGEND
from vigie.apps.glaciers.inventories import Surface
from vigie.apps.glaciers.inventory.build import Inventory, glacier_inventory
from vigie.apps.glaciers.inventory.deviation import area_deviations, summarise
from vigie.apps.glaciers.inventory.read import read_outlines
from vigie.apps.glaciers.inventory.settings import InventorySettings
from vigie.apps.glaciers.inventory.strips import held
from vigie.apps.glaciers.report import Findings, outlines_sections
from vigie.core.scene import Scene
from vigie.publish.report import Report, write_report
from vigie.story.scenes import Part

WEST, NORTH, PIXEL = 450_000.0, 3_100_000.0, 30.0
GRID = GeoBox((100, 100), Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH), "EPSG:32645")
STAIRS = InventorySettings(outline="stairs")


def in_pixels(col0, row0, col1, row1):
    return shapely.box(WEST + col0 * PIXEL, NORTH - row1 * PIXEL, WEST + col1 * PIXEL, NORTH - row0 * PIXEL)


def known(*boxes, **columns):
    return gpd.GeoDataFrame(columns, geometry=[in_pixels(*box) for box in boxes], crs="EPSG:32645")


def mapped(classes, outlines) -> Inventory:
    return glacier_inventory(classes, GRID, LEGEND, outlines=outlines, settings=STAIRS)


@pytest.fixture
def four():
    """Outlines mapped exactly, a quarter too large, not at all, and half."""
    names = ["right", "large", "missed", "half"]
    return known((10, 10, 30, 30), (30, 10, 50, 30), (10, 60, 30, 80), (60, 60, 80, 80), rgi_id=names, src_date="2000-10-30")


def classes_of_four():
    classes = np.zeros((100, 100), np.uint8)
    classes[10:30, 10:50] = 1
    classes[10:30, 50:55] = 2  # advanced, or taken for ice
    classes[60:70, 60:80] = 1
    return classes


def test_areas_deviate_by_what_is_mapped_too_much_or_too_little(four):
    classes = classes_of_four()
    table = area_deviations(mapped(classes, four).glaciers, four, GRID, classes == 255)
    assert table["rgi_id"].tolist() == ["right", "large", "missed", "half"]
    assert table["deviation_percent"].tolist() == pytest.approx([0, 25, -100, -50], abs=1e-3)
    assert table["complete"].all() and table["glac_name"].isna().all() and set(table["src_date"]) == {"2000-10-30"}
    summary = summarise(table)
    assert (summary.outlines, summary.left_out) == (4, 0)
    assert summary.pooled == pytest.approx(100 * (100 - 400 - 200) / 1600, abs=0.01)
    assert summary.median == pytest.approx(-25, abs=1e-3)
    assert (summary.low, summary.high) == pytest.approx(tuple(np.percentile([0, 25, -100, -50], (5, 95))), abs=1e-3)


def test_outlines_across_the_edge_or_unknown_pixels_are_left_out(four):
    classes = classes_of_four()
    classes[75, 75] = 255
    outlines = pd.concat([four, known((90, 90, 110, 95), rgi_id=["outside"])], ignore_index=True)
    table = area_deviations(mapped(classes, outlines).glaciers, outlines, GRID, classes == 255)
    assert table["complete"].tolist() == [True, True, True, False, False]
    assert table["deviation_percent"].isna().tolist() == [False, False, False, True, True]
    assert summarise(table).left_out == 2
    assert np.isnan(summarise(table[3:]).median)


def test_outlines_need_no_names_and_a_map_no_glaciers(four):
    plain = four[["geometry"]]
    empty = np.zeros((100, 100), np.uint8)
    table = area_deviations(mapped(empty, plain).glaciers, plain, GRID, empty == 255)
    assert table["rgi_id"].isna().all() and table["deviation_percent"].tolist() == [-100.0] * 4


def test_the_report_shows_them_beside_the_pooled_one(tmp_path, four):
    classes = classes_of_four()
    scene = Scene("now", "sensor", None, (), "EPSG:32645", tuple(GRID.affine)[:6], GRID.shape, {})
    part = Part("now", "now", {"y": slice(0, 100), "x": slice(0, 100)}, 0)
    surface = Surface(part, scene, GRID, classes, held(np.full((4, 100, 100), 0.25, np.float32)), None)
    inventory = mapped(classes, four)
    table = area_deviations(inventory.glaciers, four, GRID, classes == 255)
    (section,) = outlines_sections(Findings([surface, surface], [inventory] * 2, [table, None], []))
    summary, rows = section.tables
    assert summary.rows[0][:4] == ("now", 4, 0, pytest.approx(-31.25, abs=0.01))
    assert len(rows.rows) == 4 and [column.label for column in rows.columns][-1] == "deviation, %"
    assert list(outlines_sections(Findings([surface], [inventory], [None], []))) == []
    write_report(Report("areas", "", [section]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(written in text for written in ("Known outlines", "+25.0", "-100.0", "-50.0"))


@pytest.mark.realdata
def test_a_map_made_of_everests_outlines_deviates_little_from_them(samples):
    folder = samples / "glaciers/everest_landsat7"
    with rasterio.open(folder / "label_3class_30m.tif") as source:
        classes, grid = source.read(1), GeoBox(source.shape, source.transform, str(source.crs))
    outlines = read_outlines(folder / "15_rgi60_glacier_outlines.gpkg").table
    made = glacier_inventory(classes, grid, LEGEND, outlines=outlines)
    table = area_deviations(made.glaciers, outlines, grid, classes == 255)
    summary = summarise(table)
    assert len(table) == 86 and summary.outlines == 14
    assert abs(summary.pooled) < 0.5 and abs(summary.median) < 1 and -10 < summary.low < summary.high < 10
