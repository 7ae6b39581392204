"""What is a glitch and what is not: transients are repaired, changes that last are kept, ends are left open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.apps.glaciers.history.rules import Rules
from vigie.apps.glaciers.history.series import growth, judge, median_departure, missing_year_recall
from vigie.core.errors import VigieError


def statuses(areas, years=None) -> list[str]:
    years = np.arange(float(len(areas))) if years is None else years
    return judge(np.asarray(years, float), np.asarray(areas, float))["status"].tolist()


def flagged(areas) -> dict[int, str]:
    return {i: s for i, s in enumerate(statuses(areas)) if s != "observed"}


def test_running_median_is_the_one_of_the_notes():
    areas = np.array([8.0, 3, 9, 10, 30, 11, 12])
    expected = [8 / 8, 3 / 8.5, 9 / 9, 10 / 10, 30 / 11, 11 / 11.5, 12 / 12]
    np.testing.assert_allclose(median_departure(areas), np.array(expected) - 1)


@pytest.mark.parametrize("wild", [0.0, 0.2, 0.5, 1.7, 5.0])
def test_one_wild_date_is_a_glitch_and_is_interpolated(wild):
    years = np.array([0.0, 1, 2, 4, 5, 6, 7])
    areas = np.array([10.0, 11, 12, 99, 15, 16, 17])
    areas[3] = wild * 14
    table = judge(years, areas)
    assert table["status"].tolist() == ["observed"] * 3 + ["glitch"] + ["observed"] * 3
    assert table["repaired_km2"][3] == pytest.approx(14)
    np.testing.assert_array_equal(table["area_km2"], areas)


def test_two_wild_dates_in_a_row_are_glitches():
    assert flagged([10, 10, 10, 4, 4.2, 10, 10, 10]) == {3: "glitch", 4: "glitch"}
    assert flagged([10, 10, 10, 18, 17, 10, 10, 10]) == {3: "glitch", 4: "glitch"}


def test_a_surge_survives():
    quiet, rise, high = [100.0] * 8, [112, 139, 160], [163, 161, 160, 158, 155, 153, 150, 148]
    assert flagged(quiet + rise + high) == {}
    assert flagged([100.0] * 8 + [165, 163, 160, 159, 156, 150, 147, 145]) == {}
    table = judge(np.arange(19.0), np.array(quiet + rise + high))
    np.testing.assert_array_equal(table["repaired_km2"], table["area_km2"])


@pytest.mark.parametrize("at", range(2, 9))
@pytest.mark.parametrize("after", [0.4, 2.5])
def test_a_step_that_persists_is_no_glitch_wherever_it_is(at, after):
    assert flagged([10.0] * at + [10 * after] * (11 - at)) == {}


def test_an_end_is_unconfirmed_and_kept():
    for areas, at in (([4.0, 10, 10, 10, 10, 10], 0), ([10.0, 10, 10, 10, 10, 4], 5)):
        table = judge(np.arange(6.0), np.array(areas))
        assert {i: s for i, s in enumerate(table["status"]) if s != "observed"} == {at: "unconfirmed"}
        assert table["repaired_km2"][at] == 4.0
        assert table["level_low_km2"][at] < 10 < table["level_high_km2"][at]


def test_fast_growth_is_in_line_with_itself():
    assert flagged([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]) == {}
    assert flagged([6.4, 3.2, 1.6, 0.8, 0.4, 0.2, 0.1]) == {}


def test_missing_dates_are_repaired_gaps_and_ends_are_not():
    nan = np.nan
    table = judge(np.arange(12.0), np.array([1, 1, nan, 1, 1, nan, nan, nan, 1, 1, 1, nan]))
    assert {i: s for i, s in enumerate(table["status"]) if s != "observed"} == {
        2: "missing", 5: "gap", 6: "gap", 7: "gap", 11: "unconfirmed"}  # fmt: skip
    assert np.isfinite(table["repaired_km2"][2]) and table["repaired_km2"][[5, 6, 7, 11]].isna().all()


def test_merged_dates_are_neither_missing_nor_judged():
    areas = np.array([2, 2, 2, 20, 20, np.nan, 20, 2, 2, np.nan, 2])
    merged = np.isin(np.arange(11), (3, 4, 6))
    table = judge(np.arange(11.0), areas, merged=merged)
    assert table["status"].tolist() == [
        *["observed"] * 3,
        "merged",
        "merged",
        "missing",
        "merged",
        *["observed"] * 2,
        "missing",
        "observed",
    ]
    assert np.isnan(table["repaired_km2"][5]) and table["repaired_km2"][9] == 2


def test_an_inferred_area_is_kept_and_is_no_evidence():
    years, areas, inferred = np.arange(2000.0, 2006.0), np.array([5.0, 10, 10.1, 10, 10.1, 10]), np.arange(6) == 0
    table, without = judge(years, areas, inferred=inferred), judge(years, np.where(inferred, np.nan, areas))
    assert table["status"].tolist() == ["inferred"] + 5 * ["observed"]
    assert table["area_km2"][0] == table["repaired_km2"][0] == 5.0
    assert np.isnan(table["departure"][0]) and np.isnan(table["weight"][0])
    assert table["level_km2"].tolist() == without["level_km2"].tolist()


def test_a_glitch_beside_a_glitch_does_not_excuse_it():
    assert set(flagged([6, 6, 5.8, 3.6, 5.7, 0.5, 5.3, 5.1, 5.4])) == {3, 5}


@given(
    seed=st.integers(0, 10_000),
    noise=st.floats(0, 0.05),
    slope=st.floats(-0.02, 0.05),
    at=st.integers(2, 27),
    factor=st.sampled_from([0.0, 0.3, 0.5, 1.8, 3.0]),
)
@settings(max_examples=10, deadline=None)
def test_any_single_glitch_in_any_steady_series_is_the_only_flag(seed, noise, slope, at, factor):
    rng = np.random.default_rng(seed)
    years = np.cumsum(rng.uniform(0.6, 1.4, 30))
    truth = 20 * np.exp(slope * (years - years[0])) * (1 + noise * rng.uniform(-1, 1, 30))
    areas = truth.copy()
    areas[at] *= factor
    table = judge(years, areas)
    assert np.flatnonzero(table["status"] != "observed").tolist() == [at]
    assert table["repaired_km2"][at] == pytest.approx(truth[at], rel=0.12)
    assert growth(years, table["repaired_km2"].to_numpy())[0] == pytest.approx(growth(years, truth)[0], rel=0.05, abs=0.02)


def test_units_do_not_matter():
    areas = np.array([10, 10, 11, 3, 12, 12, 12.0])
    assert statuses(areas) == statuses(areas * 1e-4)


def test_recall_counts_years():
    rows = pd.DataFrame(
        {"name": ["a", "a", "b"], "date": pd.to_datetime(["2000-1-1", "2001-1-1", "2000-1-1"]), "flagged": True}
    )
    table = missing_year_recall(rows, {"a": [2000, 2002], "b": [2000]})
    assert table["recall"].tolist() == [0.5, 1.0] and table["overlooked"].tolist() == ["2002", ""]


def test_bad_series_and_rules_are_refused():
    with pytest.raises(VigieError, match="series is wrong"):
        judge(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    with pytest.raises(VigieError, match="series is wrong"):
        judge(np.array([1.0, 2.0]), np.array([1.0, -1.0]))
    with pytest.raises(VigieError, match="contradict"):
        Rules(median_samples=4)
