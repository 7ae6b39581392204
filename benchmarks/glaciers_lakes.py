"""Bars B4: glitches, identity and the repaired series of the Icelandic glacial lakes, 1985-2026.

    python benchmarks/glaciers_lakes.py [--out FOLDER]

Reads the samples from VIGIE_SAMPLES (default ../shared/data beside this repository). Leaves with exit code 1 when a bar fails.
The years below are the notes' review of the outlines; nothing in the package knows them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from vigie.apps.glaciers.history import History, build_history
from vigie.apps.glaciers.history.build import decimal_years
from vigie.apps.glaciers.history.plot import plot_history, write_plot
from vigie.apps.glaciers.history.read import read_dates, read_epochs
from vigie.apps.glaciers.history.series import growth, missing_year_recall
from vigie.apps.glaciers.history.write import write_history

GLITCHES = {1991, 2000, 2007, 2022}
CLEAN = set(range(2013, 2022)) | set(range(2023, 2027))
INCOMPLETE = {"3": {1991, 2000, 2007, 2022}, "5": {1996, 2012, 2020, 2026}}
"""Years without the lake or with a fragment of it."""
POINT_LOST = {"3": {1986, 1988, 1991, 1992, 2004, 2013, 2022}}
"""Years in which no outline holds the point that names the lake."""

Bar = tuple[str, str, bool]


def main() -> int:
    """Build the history, print every bar, write the products if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for history.gpkg, CSV tables and the figure")
    out = parser.parse_args().out
    history = lake_history(samples_folder() / "glaciers/lakes_iceland_annual")
    bars = [*flag_bars(history), *repair_bars(history), *recall_bars(history), *trend_bars(history)]
    for what, found, met in bars:
        print(f"{'met ' if met else 'MISS'}  {what:<66} {found}")
    if out:
        write_history(history, out)
        write_plot(plot_history(history, ["3", "4", "5", "7"]), out / "lakes.png", dpi=150)
    return 0 if all(met for _, _, met in bars) else 1


def samples_folder() -> Path:
    """The folder of real samples."""
    return Path(os.environ.get("VIGIE_SAMPLES", Path(__file__).resolve().parents[2] / "shared" / "data"))


def lake_history(folder: Path) -> History:
    """Follow the lakes through all years; images are Landsat (30 m) up to 2015 and Sentinel (10 m) after."""
    dates = read_dates(folder / "ls_dates.txt") | read_dates(folder / "s2_dates.txt")
    epochs = read_epochs(folder / "glacial_lakes_1985_2026.gpkg", "year", dates, undated=(7, 31))
    points = gpd.read_file(folder / "representative_points.gpkg")
    points["name"] = points["lake_id"].astype(str)
    return build_history(epochs, {when: 30.0 if when.year <= 2015 else 10.0 for when in epochs}, points)


def flag_bars(history: History) -> Iterator[Bar]:
    """The total is flagged in the four years and in no other."""
    flagged = set(years_of(history.total[history.total["flagged"]]))
    yield "total flagged exactly in 1991, 2000, 2007, 2022", f"{sorted(flagged)}", flagged == GLITCHES
    false = sorted(flagged & CLEAN)
    yield "no false flag in 2013-2021 and 2023-2026", f"{len(false)} {false or ''}", not false


def repair_bars(history: History) -> Iterator[Bar]:
    """Lake 3 in the flagged years, against its nearest neighbours that are good and hold its point."""
    lake = history.named("3").assign(year=years_of(history.named("3"))).set_index("year")
    good = lake[(lake["status"] == "observed") & lake["point_covered"].astype(bool)]["area_km2"]
    for year in sorted(GLITCHES):
        mean = (good[good.index < year].iloc[-1] + good[good.index > year].iloc[0]) / 2
        found, was = lake.at[year, "repaired_km2"], lake.at[year, "area_km2"]
        off = found / mean - 1
        yield (
            f"lake 3 in {year} within 10 % of its neighbours' mean",
            f"{was:.2f} -> {found:.2f} km2, neighbours {mean:.2f}, {off:+.1%}",
            abs(off) <= 0.10,
        )


def recall_bars(history: History) -> Iterator[Bar]:
    """Years of missing or incomplete lakes that were flagged, by area alone, and by area or a lost point."""
    by_area = missing_year_recall(history.objects, INCOMPLETE)
    lost = history.objects["flagged"] | ~history.objects["point_covered"].fillna(True).astype(bool)
    everything = {name: INCOMPLETE[name] | POINT_LOST.get(name, set()) for name in INCOMPLETE}
    by_both = missing_year_recall(history.objects.assign(flagged=lost), everything)
    for what, table in {"missing or incomplete, by area": by_area, "and without its point, by area or point": by_both}.items():
        for row in table.itertuples():
            found = f"{row.found}/{row.known} {row.overlooked}"
            yield f"lake {row.name} recall of years {what} > 0.9", found, bool(row.recall > 0.9)


def trend_bars(history: History) -> Iterator[Bar]:
    """Growth before and after the repair, by a robust slope on everything and by least squares without the flagged years.

    Least squares on everything is no measure here: the four glitches alone pull its slope down by 6 %.
    """
    total = history.total
    years, kept = decimal_years(total["date"].tolist()), ~total["flagged"].to_numpy()
    seen, repaired = total["area_km2"].to_numpy(), total["repaired_km2"].to_numpy()
    pairs = {
        "Theil-Sen": (growth(years, seen)[0], growth(years, repaired)[0]),
        "least squares, flagged years left out": (np.polyfit(years[kept], seen[kept], 1)[0], np.polyfit(years, repaired, 1)[0]),
    }
    for how, (before, after) in pairs.items():
        change = after / before - 1
        yield f"growth unchanged within 5 % ({how})", f"{before:.3f} -> {after:.3f} km2/yr, {change:+.1%}", abs(change) <= 0.05


def years_of(table: pd.DataFrame) -> list[int]:
    """Years of a table's dates."""
    return [when.year for when in table["date"]]


if __name__ == "__main__":
    sys.exit(main())
