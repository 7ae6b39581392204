"""From outlines of many dates to a history: who is who, every object's series, the total, what to doubt and what to repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vigie.apps.glaciers.history.identity import Identity, identify, names_from_points
from vigie.apps.glaciers.history.rules import Rules
from vigie.apps.glaciers.history.series import FLAGGED, NORMAL_95, REPAIRED, judge, repair
from vigie.apps.glaciers.history.trend import Trend, local_trends
from vigie.core.errors import VigieError

DAYS_A_YEAR = 365.2425
EDGE_SHARE = 0.6872
"""Share of perimeter pixels that a one-sigma error moves (Hanshaw & Bookhagen 2014)."""


@dataclass(frozen=True)
class History:
    """Everything that is known about a set of objects over time.

    `outlines` (GeoDataFrame): every outline with `date`, `row`, `id`, `name`, `family`, `area_km2`, `area_err_km2`, `shown`,
    `guess_err_km2`, `status`. `area_err_km2` holds the error of what its date does not show, `guess_err_km2`, too.
    `objects` (DataFrame): one row an object and date between its first and last sighting: the columns of `series.judge` and
    `date`, `id`, `name`, `family`, `area_err_km2`, `shown`, `inside`, `judged_km2`, `repaired_err_km2`, `point_covered`,
    `flagged`.
    `total` (DataFrame): the columns of `series.judge` for the sum over all outlines, with `date`, `count`, `area_err_km2`,
    `shown`, `repaired_err_km2`, `flagged`. `events`: birth, continue, merge, split, death. Tables are sorted by date.
    """

    outlines: gpd.GeoDataFrame
    objects: pd.DataFrame
    total: pd.DataFrame
    events: pd.DataFrame
    rules: Rules

    def named(self, name: str) -> pd.DataFrame:
        """Give the series of the object that has a name."""
        rows = self.objects[self.objects["name"] == name]
        if rows.empty:
            known = sorted(set(self.objects["name"]) - {""})
            raise VigieError(f"no object is called '{name}'", expected=", ".join(known) or "names: give points with names")
        return rows.reset_index(drop=True)


def build_history(
    epochs: Mapping[date, gpd.GeoDataFrame],
    pixel_m: float | Mapping[date, float],
    points: gpd.GeoDataFrame | None = None,
    rules: Rules | None = None,
) -> History:
    """Follow objects (lakes, glaciers) through outlines of many dates, flag glitches and repair the series.

    Parameters
    ----------
    epochs: outlines by date, valid polygons in one projected CRS in metres; an empty frame where an image showed nothing. Where
        they bring `area_km2` and `area_err_km2`, as an inventory's do, those count; other areas are the polygons' on the plane.
        `shown` and `guess_err_km2` say what the map of the date itself shows of each (`shown.with_shown`), else all of it.
    pixel_m: ground sampling distance of the images in metres, one for all or one a date: sets the area errors of outlines that
        bring none.
    points: named points (column `name`), only used to name objects and to say whether an outline still covers them.
    rules: thresholds.

    Returns
    -------
    The history. An object that swallowed others is judged on the sum with those it swallowed (`judged_km2`), so that a merge
    or split is no jump; `area_km2` and `repaired_km2` are its own outline's.

    Raises
    ------
    VigieError
        When CRS, geometries or pixel sizes are wrong.

    Examples
    --------
    >>> import shapely
    >>> def lake(side):
    ...     return gpd.GeoDataFrame(geometry=[shapely.box(0, 0, side, side)], crs=32627)
    >>> sides = {2000: 1000, 2001: 1010, 2002: 300, 2003: 1020, 2004: 1030, 2005: 1040}
    >>> history = build_history({date(year, 8, 1): lake(side) for year, side in sides.items()}, pixel_m=30)
    >>> history.total.loc[history.total["flagged"], ["status", "area_km2", "repaired_km2"]].round(2).values.tolist()
    [['glitch', 0.09, 1.03]]
    """
    rules = rules or Rules()
    who = identify(epochs, rules)
    names = names_from_points(who, points, "name") if points is not None else {}
    outlines = who.outlines.assign(
        name=[names.get(known, "") for known in who.outlines["id"]],
        family=[who.families[known] for known in who.outlines["id"]],
        area_err_km2=np.hypot(_area_errors(who.outlines, pixel_m), who.outlines["guess_err_km2"]),
    )
    objects = _object_series(who, outlines, sorted(epochs), names, rules)
    objects = _with_points(objects, outlines, points)
    total = _total_series(outlines, sorted(epochs), rules)
    outlines = outlines.merge(objects[["date", "id", "status"]], on=["date", "id"], how="left")
    return History(outlines, objects, total, who.events, rules)


def decimal_years(dates: list[date]) -> NDArray[np.float64]:
    """Dates as years, by elapsed days.

    Examples
    --------
    >>> decimal_years([date(2000, 1, 1), date(2000, 7, 2)]).round(2)
    array([2000. , 2000.5])
    """
    return np.array([2000 + (when - date(2000, 1, 1)).days / DAYS_A_YEAR for when in dates])


def _area_errors(outlines: gpd.GeoDataFrame, pixel_m: float | Mapping[date, float]) -> NDArray[np.float64]:
    """Area error of every outline in km2: its own, else one sigma, 0.6872 (P / G) G^2 / 2 (Hanshaw & Bookhagen 2014)."""
    dates = set(outlines["date"])
    sizes = pixel_m if isinstance(pixel_m, Mapping) else dict.fromkeys(dates, pixel_m)
    if not dates <= set(sizes) or any(not size > 0 for size in sizes.values()):
        raise VigieError("pixel sizes are wrong", found=pixel_m, expected="metres > 0 for every date with outlines")
    pixel = np.array([sizes[when] for when in outlines["date"]])
    shore = EDGE_SHARE * outlines.length.to_numpy() * pixel / 2 / 1e6
    return np.asarray(outlines["area_err_km2"].fillna(pd.Series(shore, index=outlines.index)))


def _total_series(outlines: gpd.GeoDataFrame, dates: list[date], rules: Rules) -> pd.DataFrame:
    """Judge the sum of all outlines on each date."""
    groups = outlines.groupby("date")
    areas = groups["area_km2"].sum().reindex(dates, fill_value=0.0).to_numpy()
    shown_km2 = (outlines["area_km2"] * outlines["shown"]).groupby(outlines["date"]).sum().reindex(dates, fill_value=0.0)
    shown = np.divide(shown_km2.to_numpy(), areas, out=np.ones(len(areas)), where=areas > 0)
    table = judge(decimal_years(dates), areas, rules, inferred=shown < rules.least_shown)
    table.insert(0, "date", dates)
    table["shown"] = shown
    table["count"] = groups.size().reindex(dates, fill_value=0).to_numpy()
    table["area_err_km2"] = _summed_errors(outlines).reindex(dates, fill_value=0.0).to_numpy()
    table["flagged"] = table["status"].isin(FLAGGED)
    return _with_repaired_errors(table)


def _summed_errors(outlines: gpd.GeoDataFrame) -> pd.Series:
    """Area error (km2) of each date's sum: errors of outlines are independent, those of guesses have one cause and add up."""
    measured = outlines["area_err_km2"] ** 2 - outlines["guess_err_km2"] ** 2
    sums = pd.DataFrame({"squares": measured, "guess": outlines["guess_err_km2"]}).groupby(outlines["date"]).sum()
    return pd.Series(np.hypot(np.sqrt(sums["squares"].clip(lower=0.0)), sums["guess"]))


def _object_series(
    who: Identity, outlines: gpd.GeoDataFrame, dates: list[date], names: Mapping[int, str], rules: Rules
) -> pd.DataFrame:
    """Judge every object from its first sighting to its last (to the end, if it was missing there only briefly)."""
    areas = outlines.pivot(index="date", columns="id", values="area_km2").reindex(dates)
    errors = outlines.pivot(index="date", columns="id", values="area_err_km2").reindex(dates)
    shown = outlines.pivot(index="date", columns="id", values="shown").reindex(dates)
    inside = who.sightings.pivot(index="date", columns="id", values="inside").reindex(dates)
    heads = _heads(who, areas)
    judged = pd.DataFrame({known: areas[known] + areas[heads.get(known, [])].sum(axis=1) for known in areas.columns})
    lives = {known: _life(inside[known].notna().to_numpy(), rules.longest_glitch) for known in areas.columns}
    merged = inside.notna() & (inside != inside.columns)
    trends = _trends(judged.mask(merged | (shown < rules.least_shown)), lives, rules.freedom)
    tables = []
    for known, life in lives.items():
        columns = {"own": areas, "judged": judged, "err": errors, "shown": shown, "inside": inside}
        own = pd.DataFrame({name: values[known] for name, values in columns.items()})[life]
        table = _judge_object(own.reset_index(), int(known), rules, trends[known])
        tables.append(table.assign(id=int(known), name=names.get(known, ""), family=who.families[known]))
    objects = pd.concat(tables, ignore_index=True)
    objects["flagged"] = objects["status"].isin(FLAGGED)
    return objects.sort_values(["date", "id"], ignore_index=True)


def _trends(areas: pd.DataFrame, lives: Mapping[int, slice], freedom: float) -> dict[int, Trend]:
    """Fit the trends of all objects (columns) over their lives; those that live as long as each other are fitted together."""
    years = decimal_years(list(areas.index))
    alike: dict[tuple[int, int], list[int]] = {}
    for known, life in lives.items():
        alike.setdefault((life.start, life.stop), []).append(known)
    found: dict[int, Trend] = {}
    for (start, stop), members in alike.items():
        values = areas[members].to_numpy(dtype=np.float64)[start:stop]
        found.update(zip(members, local_trends(years[start:stop], values, freedom), strict=True))
    return found


def _heads(who: Identity, areas: pd.DataFrame) -> dict[int, list[int]]:
    """Find the largest born object of each family and the other born ones, which it is judged together with.

    Parts that split off an object are left out: a lake in pieces has lost its area, wherever the pieces are.
    """
    born = who.events.loc[who.events["kind"] == "birth", "id"]
    sizes = areas[born].median().sort_values(ascending=False, kind="stable")
    families: dict[int, list[int]] = {}
    for known in sizes.index:
        families.setdefault(who.families[known], []).append(known)
    return {members[0]: members[1:] for members in families.values()}


def _life(seen: NDArray[np.bool_], longest_glitch: int) -> slice:
    """From the first sighting to the last, and to the end of the record if that is no further than a glitch lasts."""
    first, last = np.flatnonzero(seen)[[0, -1]]
    return slice(int(first), len(seen) if len(seen) - 1 - last <= longest_glitch else int(last) + 1)


def _judge_object(rows: pd.DataFrame, known: int, rules: Rules, trend: Trend) -> pd.DataFrame:
    """Judge an object on what it is judged on, and repair its own outline's area where that says so."""
    merged = (rows["inside"].notna() & (rows["inside"] != known)).to_numpy()
    years = decimal_years(rows["date"].tolist())
    inferred = (rows["shown"] < rules.least_shown).to_numpy()
    table = judge(years, rows["judged"].to_numpy(), rules, merged, trend, inferred).rename(columns={"area_km2": "judged_km2"})
    table.insert(0, "date", rows["date"])
    table.insert(1, "area_km2", rows["own"])
    table["repaired_km2"] = repair(years, rows["own"].to_numpy(), table["status"].to_numpy(dtype=object))
    table["area_err_km2"], table["shown"] = rows["err"], rows["shown"]
    table["inside"] = rows["inside"].fillna(0).astype(int)
    return _with_repaired_errors(table)


def _with_repaired_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Give every repaired area its one-sigma error: of the outline, of the trend where repaired, of both where unconfirmed."""
    level_sd = (table["level_high_km2"] - table["level_km2"]) / NORMAL_95
    error = table["area_err_km2"].where(~table["status"].isin(REPAIRED), np.hypot(level_sd, table["noise_km2"]))
    apart = (table["area_km2"] - table["level_km2"]).abs()
    return table.assign(repaired_err_km2=error.where(table["status"] != "unconfirmed", np.fmax(error, apart)))


def _with_points(objects: pd.DataFrame, outlines: gpd.GeoDataFrame, points: gpd.GeoDataFrame | None) -> pd.DataFrame:
    """Say whether the outline that an object is in covers the point that names it (missing for objects without a name)."""
    covered = pd.Series(pd.NA, index=objects.index, dtype="boolean")
    if points is not None:
        named = points[["name", "geometry"]].to_crs(outlines.crs)
        hits = gpd.sjoin(named, outlines[["date", "id", "geometry"]], predicate="within")
        held = set(zip(hits["name"].astype(str), hits["date"], hits["id"], strict=True))
        keys = zip(objects["name"], objects["date"], objects["inside"], strict=True)
        inside = pd.array([key in held for key in keys], dtype="boolean")
        covered = pd.Series(inside, index=objects.index).where(objects["name"] != "", pd.NA)
    return objects.assign(point_covered=covered)
