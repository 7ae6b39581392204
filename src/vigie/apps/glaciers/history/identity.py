"""Who is who from year to year: outlines of several dates matched by where they overlap (notes M12; glaciers and lakes alike).

Every object has an id that it keeps through merges, splits and missing dates. At each date the outlines and the places of the
known objects (the union of each one's latest outlines) form a graph of overlaps:

- the largest common area takes the id first: each object gets at most one main outline, each outline one owner;
- an object left without an outline lies inside another's (merge): it waits, its own place remembered, and takes its id back
  when it shows again (split);
- an outline left without an owner is a new object: a part (split) of the one it overlaps most, or a birth.

Objects joined by merges or splits form a family. Names come last, from points: which point lies in whose outlines most often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vigie.apps.glaciers.history.rules import Rules
from vigie.core.errors import VigieError

Shapes = NDArray[np.object_]


@dataclass(frozen=True)
class Identity:
    """Who is who: three tables.

    `outlines` (GeoDataFrame): one row an outline: `date`, `row` (its place in its epoch), `id` (owner), `area_km2`,
    and what its epoch brings of it: `area_err_km2` (else NaN), `shown` (else 1) and `guess_err_km2` (else 0), see `shown`.
    `sightings` (DataFrame): one row an object and date it was seen: `date`, `id`, `inside` (the owner it is merged into, or
    its own id). `events` (DataFrame): `date`, `kind` (birth, continue, merge, split, death), `id`, `other` (the object merged
    into or split from, 0 when there is none). `families` maps every id to its family (the smallest id in it).
    """

    outlines: gpd.GeoDataFrame
    sightings: pd.DataFrame
    events: pd.DataFrame
    families: dict[int, int]


@dataclass
class _Object:
    """What the tracker remembers of one object: latest outlines, their union, and the owner it was last inside (0: nobody)."""

    latest: list[shapely.Geometry]
    place: shapely.Geometry
    inside: int

    def see(self, outline: shapely.Geometry, remembered: int) -> None:
        """Remember a new outline and forget the oldest."""
        self.latest = [*self.latest, outline][-remembered:]
        self.place = shapely.union_all(self.latest)


def identify(epochs: Mapping[date, gpd.GeoDataFrame], rules: Rules | None = None) -> Identity:
    """Give the outlines of every date their objects' ids.

    Parameters
    ----------
    epochs: outlines by date, polygons in one projected CRS in metres; an empty frame is a date on which nothing was found.
        Columns `area_km2`, `area_err_km2`, `shown` and `guess_err_km2` are taken over; without them areas are the polygons' on
        the plane.
    rules: `least_overlap`, `remembered` and `longest_glitch` (for deaths) matter here.

    Raises
    ------
    VigieError
        When there are no epochs, or CRS or geometries do not fit.

    Examples
    --------
    >>> two = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 900, 900), shapely.box(1000, 0, 1500, 500)], crs=32627)
    >>> one = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1500, 900)], crs=32627)
    >>> who = identify({date(2000, 8, 1): two, date(2001, 8, 1): one, date(2002, 8, 1): two})
    >>> who.outlines["id"].tolist()
    [1, 2, 1, 1, 2]
    >>> who.events[["kind", "id", "other"]].values.tolist()
    [['birth', 1, 0], ['birth', 2, 0], ['continue', 1, 0], ['merge', 2, 1], ['continue', 1, 0], ['split', 2, 1]]
    """
    rules = rules or Rules()
    check_epochs(epochs)
    objects: dict[int, _Object] = {}
    outlines, sightings, events = [], [], []
    for when in sorted(epochs):
        shapes = np.asarray(epochs[when].geometry.values, dtype=object)
        measures = _measures(epochs[when])
        places = np.array([known.place for known in objects.values()], dtype=object)
        pairs = _pairs(list(objects), *overlaps(places, shapes, rules.least_overlap)[:2])
        seen, owners = _recognise(pairs, len(shapes))
        for row, parent in _newcomers(pairs, owners, shapes):
            owners[row] = len(objects) + 1
            objects[owners[row]] = _Object([], shapely.Polygon(), parent)
            seen[owners[row]] = owners[row]
        events += [(when, *event) for event in _events(seen, objects)]
        for row, owner in enumerate(owners):
            objects[owner].see(shapes[row], rules.remembered)
            outlines.append((when, row, owner, *measures[row], shapes[row]))
        for known, owner in seen.items():
            objects[known].inside = owner
            sightings.append((when, known, owner))
    return _tables(outlines, sightings, events, epochs, rules.longest_glitch)


def check_epochs(epochs: Mapping[date, gpd.GeoDataFrame]) -> None:
    """Refuse outlines that are not valid polygons in one projected CRS."""
    if not epochs:
        raise VigieError("no epochs", expected="outlines of at least one date")
    systems = {frame.crs.to_string() if frame.crs else None for frame in epochs.values()}
    first = next(iter(epochs.values())).crs
    if len(systems) != 1 or first is None or not first.is_projected:
        raise VigieError(
            "outlines of all dates must share one projected CRS",
            found=sorted(map(str, systems)),
            expected="one CRS in metres",
            do="reproject every epoch with GeoDataFrame.to_crs, for instance to the local UTM zone",
        )
    for when, frame in epochs.items():
        good = frame.geometry.is_valid & frame.geometry.geom_type.isin(["Polygon", "MultiPolygon"]) & ~frame.geometry.is_empty
        if not good.all():
            raise VigieError(
                f"epoch {when} holds outlines that are no valid polygons",
                found=f"{int((~good).sum())} of {len(frame)}",
                expected="valid, non-empty polygons",
                do="repair them with GeoSeries.make_valid and keep the polygons",
            )


def overlaps(first: Shapes, second: Shapes, least: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Find the pairs that are the same place: common area at least `least` of the smaller one's; largest common area first.

    Returns
    -------
    Indices into `first`, indices into `second`, common areas in m2.

    Examples
    --------
    >>> i, j, common = overlaps(np.array([shapely.box(0, 0, 10, 10)]), np.array([shapely.box(5, 0, 15, 10)]), least=0.25)
    >>> i.tolist(), j.tolist(), common.tolist()
    ([0], [0], [50.0])
    """
    i, j = shapely.STRtree(second).query(first, predicate="intersects") if len(first) and len(second) else np.empty((2, 0), int)
    common = shapely.area(shapely.intersection(first[i], second[j]))
    smaller = np.minimum(shapely.area(first[i]), shapely.area(second[j]))
    same = (common > 0) & (common >= least * smaller)
    i, j, common = i[same], j[same], common[same]
    order = np.lexsort((_place(second)[j], i, -common))
    return i[order].astype(np.int64), j[order].astype(np.int64), common[order]


def names_from_points(who: Identity, points: gpd.GeoDataFrame, name_column: str) -> dict[int, str]:
    """Name objects after points: each name goes to the object whose outlines hold its point most often.

    A date on which k objects share an outline counts 1/k for each, so a lake that was merged most of the time is still
    recognised by the years it was alone.

    Examples
    --------
    >>> lake = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 900, 900)], crs=32627)
    >>> points = gpd.GeoDataFrame({"name": ["Long"]}, geometry=[shapely.Point(5, 5)], crs=32627)
    >>> names_from_points(identify({date(2000, 8, 1): lake}), points, "name")
    {1: 'Long'}
    """
    if points[name_column].duplicated().any():
        raise VigieError("two points have one name", found=points[name_column].tolist(), expected="a name each")
    hits = gpd.sjoin(points[[name_column, "geometry"]].to_crs(who.outlines.crs), who.outlines, predicate="within")
    sharing = who.sightings.merge(hits[[name_column, "date", "id"]], left_on=["date", "inside"], right_on=["date", "id"])
    sharing["vote"] = 1.0 / sharing.groupby([name_column, "date"])["inside"].transform("size")
    votes = sharing.pivot_table(index=name_column, columns="id_x", values="vote", aggfunc="sum", fill_value=0.0)
    chosen = zip(*linear_sum_assignment(-votes.to_numpy()), strict=True)
    names, ids, counts = [str(name) for name in votes.index], [int(known) for known in votes.columns], votes.to_numpy()
    return dict(sorted((ids[j], names[i]) for i, j in chosen if counts[i, j] > 0))


def _measures(epoch: gpd.GeoDataFrame) -> list[tuple[float, float, float, float]]:
    """Area (km2) of each outline, its own or on the plane, its error, the share that its map shows, the error of the rest."""
    plane = pd.Series(epoch.area / 1e6, index=epoch.index)
    areas = epoch["area_km2"].fillna(plane) if "area_km2" in epoch else plane
    missing = {"area_err_km2": np.nan, "shown": 1.0, "guess_err_km2": 0.0}
    brought = (epoch[name] if name in epoch else pd.Series(value, index=epoch.index) for name, value in missing.items())
    return list(zip(*(column.astype(float).tolist() for column in (areas, *brought)), strict=True))


def _place(shapes: Shapes) -> NDArray[np.int64]:
    """Rank shapes by size and position, so that ids do not depend on the order of rows in a file."""
    middle = shapely.centroid(shapes)
    rank = np.empty(len(shapes), dtype=np.int64)
    rank[np.lexsort((shapely.get_y(middle), shapely.get_x(middle), -shapely.area(shapes)))] = np.arange(len(shapes))
    return rank


def _pairs(ids: Sequence[int], places: NDArray[np.int64], rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Overlapping (object, row) pairs, largest common area first."""
    return [(ids[place], int(row)) for place, row in zip(places, rows, strict=True)]


def _recognise(pairs: Sequence[tuple[int, int]], count: int) -> tuple[dict[int, int], list[int]]:
    """Match outlines with known objects: {object: owner of the outline it is in}, and the owner of each outline (0: nobody)."""
    seen, owners = dict[int, int](), [0] * count
    for known, row in pairs:
        if known not in seen and not owners[row]:
            seen[known] = owners[row] = known
    for known, row in pairs:
        if known not in seen:
            seen[known] = owners[row]
    return seen, owners


def _newcomers(pairs: Sequence[tuple[int, int]], owners: Sequence[int], shapes: Shapes) -> list[tuple[int, int]]:
    """Outlines without an owner, largest first, each with the object that it is a part of (0: none)."""
    new = np.array([row for row, owner in enumerate(owners) if not owner], dtype=np.int64)
    parents = dict[int, int]()
    for known, row in pairs:
        parents.setdefault(row, known)
    return [(int(row), parents.get(int(row), 0)) for row in new[np.argsort(_place(shapes[new]))]]


def _events(seen: Mapping[int, int], objects: Mapping[int, _Object]) -> list[tuple[str, int, int]]:
    """Say what happened to every object seen, from where it was last and where it is now: (kind, id, other)."""
    told = []
    for known, owner in sorted(seen.items()):
        alone, before, is_new = owner == known, objects[known].inside, not objects[known].latest
        if is_new:
            told.append(("split", known, before) if before else ("birth", known, 0))
        elif alone:
            told.append(("continue", known, 0) if before == known else ("split", known, before))
        elif before == known:
            told.append(("merge", known, owner))
    return told


def _tables(
    outlines: list[tuple[date, int, int, float, float, float, float, shapely.Geometry]],
    sightings: list[tuple[date, int, int]],
    events: list[tuple[date, str, int, int]],
    epochs: Mapping[date, gpd.GeoDataFrame],
    longest_glitch: int,
) -> Identity:
    crs = next(iter(epochs.values())).crs
    columns = ["date", "row", "id", "area_km2", "area_err_km2", "shown", "guess_err_km2", "geometry"]
    table = gpd.GeoDataFrame(outlines, columns=columns, geometry="geometry", crs=crs)
    seen = pd.DataFrame(sightings, columns=["date", "id", "inside"])
    last = seen.groupby("id")["date"].max()
    dates = sorted(epochs)
    # Not seen on the last date or two is no death yet: the same happens to objects that come back.
    gone = set(dates[: len(dates) - 1 - longest_glitch])
    deaths = [
        (dates[dates.index(when) + 1], "death", int(known), 0)
        for known, when in zip(last.index, last, strict=True)
        if when in gone
    ]
    told = pd.DataFrame(events + deaths, columns=["date", "kind", "id", "other"])
    told = told.sort_values(["date", "id", "kind"], kind="stable", ignore_index=True)
    return Identity(table, seen, told, _families(sorted(last.index), told))


def _families(ids: Sequence[int], events: pd.DataFrame) -> dict[int, int]:
    """Connected components of the graph of merges and splits."""
    ties = events[events["other"] > 0]
    number = {known: index for index, known in enumerate(ids)}
    rows, columns = ties["id"].map(number).to_numpy(int), ties["other"].map(number).to_numpy(int)
    graph = coo_array((np.ones(len(ties)), (rows, columns)), shape=(len(ids), len(ids)))
    _, labels = connected_components(graph, directed=False)
    smallest: dict[int, int] = {}
    for known, label in zip(ids, labels, strict=True):
        smallest.setdefault(int(label), int(known))
    return {int(known): smallest[int(label)] for known, label in zip(ids, labels, strict=True)}
