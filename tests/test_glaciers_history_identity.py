"""Who is who through merges, splits, gaps and births, on shapes small enough to see."""

from __future__ import annotations

from datetime import date

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point, box
from shapely.affinity import translate

from vigie.apps.glaciers.history import Rules, build_history
from vigie.apps.glaciers.history.identity import identify, names_from_points
from vigie.core.errors import VigieError

BIG, SMALL, FAR = box(0, 0, 2000, 2000), box(2100, 0, 2900, 800), box(9000, 0, 9500, 500)
JOINED = box(0, 0, 2900, 2000)


def epochs(*frames, first: int = 2000):
    return {date(first + i, 8, 1): gpd.GeoDataFrame(geometry=list(shapes), crs=32627) for i, shapes in enumerate(frames)}


def ids(who, year: int) -> list[int]:
    rows = who.outlines[who.outlines["date"] == date(year, 8, 1)].sort_values("row")
    return rows["id"].tolist()


def events(who, *kinds: str) -> list[tuple[int, str, int, int]]:
    return [(e.date.year, e.kind, e.id, e.other) for e in who.events.itertuples() if e.kind in kinds]


def test_ids_are_kept_through_merge_and_split():
    who = identify(epochs([BIG, SMALL], [JOINED], [JOINED], [SMALL, BIG], [JOINED], [BIG, SMALL]))
    assert [ids(who, y) for y in range(2000, 2006)] == [[1, 2], [1], [1], [2, 1], [1], [1, 2]]
    assert events(who, "merge", "split") == [
        (2001, "merge", 2, 1),
        (2003, "split", 2, 1),
        (2004, "merge", 2, 1),
        (2005, "split", 2, 1),
    ]
    assert who.families == {1: 1, 2: 1}


def test_a_glacier_that_falls_apart_for_good_has_parts_with_a_parent():
    trunk, arm = box(0, 0, 2000, 1000), box(2100, 0, 2800, 1000)
    who = identify(epochs([box(0, 0, 2800, 1000)], [trunk, arm], [trunk, arm], [trunk]), Rules(longest_glitch=1))
    assert [ids(who, y) for y in (2000, 2001, 2002, 2003)] == [[1], [1, 2], [1, 2], [1]]
    assert events(who, "split", "death") == [(2001, "split", 2, 1)]
    assert who.families == {1: 1, 2: 1}


def test_gaps_births_and_deaths():
    who = identify(epochs([BIG], [], [BIG, FAR], [BIG], [BIG], [BIG], [BIG]))
    assert ids(who, 2002) == [1, 2]
    assert events(who, "birth", "death") == [(2000, "birth", 1, 0), (2002, "birth", 2, 0), (2003, "death", 2, 0)]
    late = identify(epochs([BIG], [BIG, FAR], [BIG], [BIG]))
    assert events(late, "death") == [], "two dates without it are not enough to call it dead"


def test_an_object_is_found_again_after_years_in_which_only_a_fragment_was_mapped():
    fragment, rest = box(0, 1700, 2000, 2000), box(0, 0, 2000, 1600)
    who = identify(epochs([BIG], [BIG], [fragment], [rest], [BIG]))
    assert [ids(who, y) for y in range(2000, 2005)] == [[1]] * 5


def test_a_touch_is_no_overlap():
    who = identify(epochs([BIG], [box(2000, 0, 3000, 900)], [box(1990, 0, 3000, 900)]))
    assert [ids(who, y) for y in (2000, 2001, 2002)] == [[1], [2], [2]]
    assert len(set(who.families.values())) == 2


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_the_order_of_rows_and_the_place_on_earth_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    frames = [[box(x, y, x + s, y + s) for x, y, s in rng.uniform(100, 1500, (6, 3)).round()] for _ in range(4)]
    who = identify(epochs(*frames))
    orders = [rng.permutation(6) for _ in frames]
    mixed = identify(epochs(*([shapes[i] for i in order] for shapes, order in zip(frames, orders, strict=True))))
    for year, order in zip(range(2000, 2004), orders, strict=True):
        assert [ids(who, year)[i] for i in order] == ids(mixed, year)
    moved = identify(epochs(*([translate(shape, 5000, -3000) for shape in shapes] for shapes in frames)))
    assert moved.outlines["id"].tolist() == who.outlines["id"].tolist()
    owners = who.sightings[who.sightings["id"] == who.sightings["inside"]]
    assert len(owners) == len(who.outlines), "each outline has one owner, each owner one outline a date"


def test_points_only_name():
    points = gpd.GeoDataFrame(
        {"name": ["big", "small", "nowhere"]}, geometry=[Point(50, 50), Point(2500, 400), Point(-1, -1)], crs=32627
    )
    who = identify(epochs([BIG, SMALL], [JOINED], [JOINED], [SMALL, box(100, 100, 2000, 2000)], [FAR]))
    assert names_from_points(who, points, "name") == {1: "big", 2: "small"}
    same = names_from_points(who, points.to_crs(4326), "name")
    assert same == {1: "big", 2: "small"}


def test_a_merge_is_no_jump_and_a_fragment_is():
    history = build_history(
        epochs([BIG, SMALL], [BIG, SMALL], [JOINED], [BIG, SMALL], [JOINED], [box(0, 0, 900, 900), SMALL], [JOINED], [JOINED]),
        30.0,
    )
    big, small = (history.objects[history.objects["id"] == known] for known in (1, 2))
    assert big["status"].tolist() == ["observed"] * 5 + ["glitch"] + ["observed"] * 2
    assert small["status"].tolist() == ["observed", "observed", "merged", "observed", "merged", "observed", "merged", "merged"]
    assert big["judged_km2"].iloc[0] == pytest.approx(4.64) and big["area_km2"].iloc[0] == pytest.approx(4.0)
    assert history.total["status"].tolist()[5] == "glitch"
    assert history.total["area_km2"].iloc[0] == pytest.approx(4.64)
    assert set(history.outlines["status"]) == {"observed", "glitch"}


def test_a_year_with_nothing_is_a_glitch_of_the_total_and_missing_for_the_object():
    history = build_history(epochs([BIG], [BIG], [], [BIG], [BIG]), {date(2000 + i, 8, 1): 10.0 for i in range(5)})
    assert history.total["status"].tolist() == ["observed", "observed", "glitch", "observed", "observed"]
    assert history.objects["status"].tolist() == ["observed", "observed", "missing", "observed", "observed"]
    assert history.objects["repaired_km2"].tolist() == pytest.approx([4.0] * 5)
    assert history.outlines["area_err_km2"].iloc[0] == pytest.approx(0.6872 * 8000 / 10 * 100 / 2 / 1e6)


def test_bad_epochs_are_refused():
    good = epochs([BIG])
    with pytest.raises(VigieError, match="no epochs"):
        identify({})
    with pytest.raises(VigieError, match="projected CRS"):
        identify({when: frame.to_crs(4326) for when, frame in good.items()})
    with pytest.raises(VigieError, match="projected CRS"):
        identify(good | {date(2001, 8, 1): gpd.GeoDataFrame(geometry=[BIG], crs=32628)})
    with pytest.raises(VigieError, match="no valid polygons"):
        identify(epochs([Point(0, 0)]))
    with pytest.raises(VigieError, match="pixel sizes"):
        build_history(good, 0.0)
    with pytest.raises(VigieError, match="called 'x'"):
        build_history(good, 30.0).named("x")
