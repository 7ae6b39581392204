"""The Icelandic glacial lakes 1985-2026 (notes B4, traps 14 and 15), and what is written about them."""

from __future__ import annotations

from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest

from vigie.apps.glaciers.history import build_history
from vigie.apps.glaciers.history.identity import identify
from vigie.apps.glaciers.history.plot import plot_history, write_plot
from vigie.apps.glaciers.history.read import read_dates, read_epochs
from vigie.apps.glaciers.history.write import write_history
from vigie.core.errors import VigieError

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def folder(samples):
    return samples / "glaciers/lakes_iceland_annual"


@pytest.fixture(scope="module")
def epochs(folder):
    dates = read_dates(folder / "ls_dates.txt") | read_dates(folder / "s2_dates.txt")
    return read_epochs(folder / "glacial_lakes_1985_2026.gpkg", "year", dates, undated=(7, 31))


@pytest.fixture(scope="module")
def points(folder):
    frame = gpd.read_file(folder / "representative_points.gpkg")
    return frame.assign(name=frame["lake_id"].astype(str))


@pytest.fixture(scope="module")
def history(epochs, points):
    return build_history(epochs, 30.0, points)


def test_epochs_are_dated_or_say_that_they_are_not(epochs):
    assert len(epochs) == 39 and sum(map(len, epochs.values())) == 198
    undated = {when.year for when, frame in epochs.items() if not frame.attrs["dated"]}
    assert undated == {2004, 2005, 2006, 2007, 2010, 2011, 2012}
    assert {2003, 2008, 2009}.isdisjoint(when.year for when in epochs)


def test_the_four_years_are_flagged_and_no_other(history):
    flagged = history.total[history.total["flagged"]]
    assert [when.year for when in flagged["date"]] == [1991, 2000, 2007, 2022]
    assert (flagged["status"] == "glitch").all()


def test_lakes_1_and_3_keep_their_names_through_merges(history):
    lake = history.named("1").set_index(history.named("1")["date"].map(lambda when: when.year))
    great = history.named("3").set_index(history.named("3")["date"].map(lambda when: when.year))
    assert set(lake["family"]) == set(great["family"])
    for year in (1985, 1993, 1995, 2000, 2001, 2005):
        assert lake.at[year, "inside"] != great.at[year, "inside"], year
    for year in (1994, 1996, 1999, 2002, 2006, 2010, 2013, 2021, 2023, 2026):
        assert lake.at[year, "status"] == "merged" and lake.at[year, "inside"] == great.at[year, "id"], year
    assert great.at[1985, "area_km2"] == pytest.approx(9.3672)
    assert great.at[2026, "area_km2"] == pytest.approx(28.02, abs=0.01)
    assert lake.at[1995, "area_km2"] == pytest.approx(2.33, abs=0.01)


def test_every_missing_or_incomplete_year_of_the_notes_is_found(history):
    for name, years in {"3": (1991, 2000, 2007, 2022), "5": (1996, 2012, 2020, 2026)}.items():
        rows = history.named(name)
        assert set(years) <= {when.year for when in rows["date"][rows["flagged"]]}
    lost = history.named("3")
    lost = {when.year for when in lost["date"][~lost["point_covered"].astype(bool)]}
    assert {1986, 1988, 1991, 1992, 2004, 2013, 2022} <= lost


def test_young_lakes_and_growth_survive(history):
    young = history.named("7")
    assert young["date"].iloc[0].year == 2015
    assert young["area_km2"].iloc[0] == pytest.approx(0.43, abs=0.01)
    assert young["repaired_km2"].iloc[-1] == pytest.approx(1.51, abs=0.01)
    level = history.named("3")["level_km2"]
    assert level.iloc[-1] > 2.5 * level.iloc[0]


def test_shuffled_rows_give_the_same_history(epochs, history):
    mixed = {when: frame.sample(frac=1, random_state=1).reset_index(drop=True) for when, frame in epochs.items()}
    again = identify(mixed)
    pd.testing.assert_frame_equal(again.events, history.events)
    areas = [table.groupby(["date", "id"])["area_km2"].sum() for table in (again.outlines, history.outlines)]
    pd.testing.assert_series_equal(*areas)


def test_everything_is_written_and_read_back(history, tmp_path):
    files = write_history(history, tmp_path / "products")
    assert sorted(path.name for path in (tmp_path / "products").iterdir()) == sorted(path.name for path in files.values())
    outlines = gpd.read_file(files["history"], layer="outlines")
    assert len(outlines) == 198 and outlines.crs.to_epsg() == 32627
    total = pyogrio.read_dataframe(files["history"], layer="total", read_geometry=False)
    np.testing.assert_allclose(total["repaired_km2"], history.total["repaired_km2"])
    objects = pd.read_csv(files["objects"], dtype={"name": str})
    assert len(objects) == len(history.objects) and objects["flagged"].sum() == history.objects["flagged"].sum()


def test_the_figure_shows_flagged_years(history, tmp_path):
    figure = plot_history(history, ["3", "5"])
    assert {"1991", "2000", "2007", "2022"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "2026?" in {text.get_text() for text in figure.axes[2].texts}
    write_plot(figure, tmp_path / "lakes.png", dpi=50)
    assert (tmp_path / "lakes.png").stat().st_size > 10_000


def test_bad_files_are_refused(folder, tmp_path):
    bad = tmp_path / "dates.txt"
    bad.write_text("1985: 1985-08-05\n")
    with pytest.raises(VigieError, match="line 1"):
        read_dates(bad)
    with pytest.raises(VigieError, match="no column 'jahr'"):
        read_epochs(folder / "glacial_lakes_1985_2026.gpkg", "jahr", {}, undated=(8, 1))
    assert date(1985, 8, 5) == read_dates(folder / "ls_dates.txt")[1985]
