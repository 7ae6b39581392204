"""Maps: true scale, true north, true colours, no overlaps; large rasters are thinned in little memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from odc.geo.geobox import GeoBox
from pyproj import Proj

from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.publish.cartography import Extent, nice_step, north_angles, north_turns, round_length
from vigie.publish.charts import reliability_chart, series_chart
from vigie.publish.cog import write_cog
from vigie.publish.look import DARK, LIGHT, RAMPS
from vigie.publish.maps import map_figure
from vigie.publish.panels import (
    RampKey,
    class_panel,
    mistakes_panel,
    observation_panel,
    ramp_panel,
    stretch,
    variable_panel,
    with_outlines,
)
from vigie.publish.picture import Picture, centre, class_picture, mean, quantity_picture, shrink
from vigie.publish.raster import ProductBand, Raster, class_raster

ICE = Legend(
    "ice",
    (
        LegendClass(0, "other", "#8c8c8c"),
        LegendClass(1, "clean ice", "#3fa9f5"),
        LegendClass(2, "debris-covered ice", "#aa5500"),
    ),
)
UTM = GeoBox.from_bbox((478000, 3090000, 502000, 3110000), "EPSG:32645", resolution=100)
POLAR = GeoBox.from_bbox((-2e6, -2e6, 2e6, 2e6), "EPSG:3413", resolution=40000)
PACIFIC = GeoBox.from_bbox((170, -20, 190, -5), "EPSG:4326", resolution=0.5)


def codes(grid: GeoBox) -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 3, (1, *grid.shape)).astype(np.uint8), grid)


def share(grid: GeoBox) -> Picture:
    return Picture(np.random.default_rng(0).random((1, *grid.shape)).astype(np.float32), grid)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("grid", [UTM, POLAR, PACIFIC], ids=["utm", "polar", "pacific"])
def test_no_text_overlaps_or_leaves_the_figure(grid, theme):
    panels = [
        observation_panel(
            "An observation with a rather long title, in three bands", Picture(np.repeat(share(grid).values, 3, 0), grid)
        ),
        class_panel("Classes", codes(grid), ICE),
        variable_panel("Probability", share(grid), "probability"),
    ]
    figure = map_figure(panels, theme)
    figure.canvas.draw()
    page = figure.bbox
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    for text, box in boxes:
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        assert inside, f"'{text}' leaves the page"
    for text in (t for t in texts if t.get_path_effects()):
        box, panel = text.get_window_extent(), text.axes.bbox
        assert panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1, text.get_text()
    for i, (first, a) in enumerate(boxes):
        for second, b in boxes[i + 1 :]:
            assert not a.overlaps(b), f"'{first}' overlaps '{second}'"


@pytest.mark.parametrize("shape", [(1200, 6), (900, 60), (6, 1200), (1, 1)])
def test_maps_of_any_shape_have_room_for_their_keys(shape):
    grid = GeoBox(shape, UTM.affine, "EPSG:32645")
    figure = map_figure([class_panel("Classes", codes(grid), ICE), variable_panel("Probability", share(grid), "probability")])
    figure.canvas.draw()
    assert all(axes.get_position().width > 0 and axes.get_position().height > 0 for axes in figure.axes)
    names = [t for t in figure.findobj(Text) if t.get_text() in ICE.names]
    assert len(names) == 3
    assert all(figure.bbox.x0 <= t.get_window_extent().x0 and t.get_window_extent().x1 <= figure.bbox.x1 for t in names)


def test_neighbours_share_a_key_only_when_it_is_the_same():
    other = Legend("two", ICE.classes[:2])
    both = map_figure([class_panel("truth", codes(UTM), ICE), class_panel("prediction", codes(UTM), ICE)])
    apart = map_figure([class_panel("prediction", codes(UTM), ICE), class_panel("truth", codes(UTM), other)])
    assert (len(both.axes), len(apart.axes)) == (3, 4)


def test_maps_keep_their_shape_on_the_ground():
    for grid in (UTM, PACIFIC):
        figure = map_figure([variable_panel("p", share(grid), "probability")])
        box = figure.axes[0].get_position()
        width, height = figure.get_size_inches()
        assert box.width * width / (box.height * height) == pytest.approx(Extent.of(grid).aspect(), rel=1e-6)
    # on UTM scale is nearly 1 everywhere; 20 degrees along latitude -12.5 by 15 of latitude on the ellipsoid
    assert Extent.of(UTM).width_m() == pytest.approx(24000 / 0.9996, rel=1e-4)
    assert Extent.of(PACIFIC).aspect() == pytest.approx(20 / 15 * math.cos(math.radians(12.5)) * 1.0064, rel=3e-3)


def test_true_north_is_the_meridian_convergence():
    far = GeoBox.from_bbox((700000, 7100000, 720000, 7120000), "EPSG:32627", resolution=100)
    extent = Extent.of(far)
    longitude, latitude = extent.mesh(5)
    factors = Proj("EPSG:32627").get_factors(longitude, latitude)
    np.testing.assert_allclose(np.degrees(north_angles(extent)), -factors.meridian_convergence, atol=1e-3)
    assert not north_turns(extent)
    assert north_turns(Extent.of(POLAR))


@given(st.floats(1e-2, 360))
def test_steps_are_round_and_not_too_many(span):
    assert span / nice_step(span) <= 8


@given(st.floats(1, 1e7))
def test_scale_bars_are_round_and_fit(longest):
    length = round_length(longest)
    assert length <= longest < 2.51 * length
    assert str(length).strip("0.")[0] in "125" or "e" in str(length)


def test_colours_are_exact_and_missing_is_empty():
    grid = GeoBox.from_bbox((500000, 3000000, 500300, 3000100), "EPSG:32645", resolution=100)
    panel = ramp_panel("p", Picture(np.array([[[0.0, 1.0, np.nan]]]), grid), RampKey("p", RAMPS["viridis"], 0, 1))
    assert panel.image[0].tolist() == [[0x44, 0x01, 0x54, 255], [0xFD, 0xE7, 0x25, 255], [0, 0, 0, 0]]
    seen = observation_panel("o", Picture(np.array([[[1.0, 2.0, np.nan]]]), grid))
    assert seen.image[0, :, 3].tolist() == [255, 255, 0]


def test_a_few_bright_pixels_do_not_darken_the_scene():
    values = np.random.default_rng(0).random((1, 100, 100))
    bright = values.copy()
    bright[0, 0, :20] = 1e4
    assert np.abs(stretch(bright) - stretch(values))[0, 1:].max() < 0.05
    assert (stretch(np.full((1, 2, 2), 7.0)) == 0.5).all()


def test_mistakes_are_told_apart():
    grid = GeoBox.from_bbox((500000, 3000000, 500500, 3000100), "EPSG:32645", resolution=100)
    truth = Picture(np.array([[[0, 1, 2, 0, 255]]], np.uint8), grid)
    said = Picture(np.array([[[0, 2, 0, 1, 1]]], np.uint8), grid)
    panel = mistakes_panel("m", truth, said, ICE, ["clean ice", "debris-covered ice"])
    wanted = ["#c3c9d1", "#5aa9d6", "#c2410c", "#4a148c"]
    assert ["#" + bytes(p[:3].tolist()).hex() for p in panel.image[0, :4]] == wanted
    assert panel.image[0, 4, 3] == 0


def test_outlines_come_in_map_coordinates():
    import geopandas as gpd
    from shapely import box

    hole = box(480000, 3092000, 490000, 3100000).difference(box(482000, 3094000, 483000, 3095000))
    table = gpd.GeoDataFrame(geometry=[hole], crs="EPSG:32645").to_crs(4326)
    panel = with_outlines(class_panel("c", codes(UTM), ICE), table)
    assert len(panel.outlines) == 2
    assert np.concatenate(panel.outlines)[:, 0].min() == pytest.approx(480000, abs=0.01)
    map_figure([panel]).canvas.draw()


@pytest.mark.parametrize("shape", [(1, 1), (97, 41), (1, 3000), (250, 1000)])
@pytest.mark.parametrize("thin", [centre, mean])
def test_thinning_does_not_depend_on_blocks(shape, thin):
    values = np.random.default_rng(0).random((2, *shape))
    grid = GeoBox(shape, UTM.affine, UTM.crs)
    picture = shrink(lambda w: values[:, w["y"], w["x"]], grid, thin, longest=90)
    assert max(picture.values.shape[1:]) <= 90
    step = -(-max(shape) // 90)
    if min(shape) >= step > 1:
        whole = values[:, : shape[0] // step * step, : shape[1] // step * step]
        np.testing.assert_allclose(picture.values, thin(whole, step))
        assert picture.grid.resolution.x == pytest.approx(100 * step)


def test_a_huge_raster_is_thinned_in_little_memory():
    grid = GeoBox((20000, 20000), UTM.affine, UTM.crs)
    tracemalloc.start()
    picture = shrink(lambda w: np.zeros((1, w["y"].stop - w["y"].start, w["x"].stop - w["x"].start), np.uint8), grid, centre)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert picture.values.shape == (1, 1333, 1333)
    assert peak < 40 * 2**20


def test_pictures_of_products_use_their_overviews(tmp_path):
    grid = GeoBox((1500, 1500), UTM.affine, UTM.crs)
    write_cog(tmp_path / "c.tif", class_raster(grid, ICE, "c"), lambda w: _ones(w, "uint8"))
    packed = Raster(grid, "uint16", (ProductBand("p", "p", "1", 1e-4),), 65535, "average")
    write_cog(tmp_path / "p.tif", packed, lambda w: _ones(w, "uint16") * np.uint16(5000))
    classes, quantity = class_picture(tmp_path / "c.tif", 300), quantity_picture(tmp_path / "p.tif", longest=300)
    assert classes.values.shape == quantity.values.shape == (1, 300, 300)
    assert (classes.values == 1).all()
    np.testing.assert_allclose(quantity.values, 0.5, rtol=1e-6)
    assert quantity.grid.boundingbox.bbox == pytest.approx(grid.boundingbox.bbox)


def _ones(window, dtype):
    return np.ones((1, window["y"].stop - window["y"].start, window["x"].stop - window["x"].start), dtype)


def test_charts_draw_empty_bins_and_flags():
    reliability_chart([0.1, np.nan], [0.2, np.nan], [10, 0], "Empty bin").canvas.draw()
    series_chart(
        [2000, 2001], [1.0, np.nan], ([0.9, np.nan], [1.1, np.nan]), {"flagged": [0]}, ("t", "km²"), DARK
    ).canvas.draw()
    with pytest.raises(VigieError, match="bins"):
        reliability_chart([0.1], [0.2, 0.3], [1], "x")


def test_inferred_values_are_hollow_and_named():
    chart = series_chart([1975, 1994, 2003], [1.0, 2.0, 2.0], None, {"inferred": [0]}, ("t", "km²"))
    chart.canvas.draw()
    marks = {line.get_label(): line for line in chart.axes[0].get_lines()}
    hollow, filled = marks["inferred: not on that date's own map"], marks["observed"]
    assert list(hollow.get_xdata()) == [1975] and list(filled.get_xdata()) == [1994, 2003]
    assert hollow.get_markerfacecolor() != hollow.get_markeredgecolor() == filled.get_markerfacecolor()
    told = [text.get_text() for text in chart.axes[0].get_legend().get_texts()]
    assert told == ["observed", "inferred: not on that date's own map"]
    assert series_chart([1975], [1.0], None, {}, ("t", "km²")).axes[0].get_legend() is None


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(VigieError, match="1 to 3"):
        map_figure([])
    with pytest.raises(VigieError, match="one band or three"):
        observation_panel("o", Picture(np.zeros((2, *UTM.shape)), UTM))
    with pytest.raises(VigieError, match="does not fit its grid"):
        Picture(np.zeros((1, 2, 2)), UTM)
