"""Curves: what is drawn is what was given, on axes that are labelled with round numbers, in both themes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.publish.curves import Curve, Frame, colours, curve_chart, round_ticks
from vigie.publish.look import DARK, LIGHT


def test_curves_are_drawn_as_they_are_without_gaps_that_are_missing():
    frame = Frame("Return levels", ("years", "mm"), ("log", "linear"))
    interval = ([1.0, 2.0, np.nan], [3.0, 4.0, np.nan])
    curves = {"one": Curve([1, 10, 100], [2, 3, np.nan], interval, ([5.0], [2.5])), "two": Curve([1, 10], [4, 5])}
    chart = curve_chart(curves, frame, DARK)
    (axes,) = chart.axes
    lines = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert lines == [[[1, 2], [10, 3]], [[5, 2.5]], [[1, 4], [10, 5]]]
    assert axes.get_title(loc="left") == "Return levels" and axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert chart.get_facecolor()[:3] != curve_chart(curves, frame, LIGHT).get_facecolor()[:3]


def test_the_guide_is_a_diagonal_or_a_level():
    square = curve_chart({"a": Curve([1, 2], [3, 30])}, Frame("Q-Q", ("x", "y"), ("log", "log"), "diagonal"))
    (axes,) = square.axes
    assert axes.get_xlim() == axes.get_ylim() and axes.get_lines()[-1].get_linestyle() == "--"
    level = curve_chart({"a": Curve([0, 1], [0, 2])}, Frame("PIT", ("x", "y"), guide=1.0))
    assert set(level.axes[0].get_lines()[-1].get_ydata()) == {1.0}


def test_nothing_known_still_makes_a_chart():
    chart = curve_chart({"a": Curve([np.nan], [np.nan])}, Frame("Empty", ("x", "y"), ("log", "log"), "diagonal"))
    assert chart.axes[0].get_xlim() == (0.1, 1.0)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_differ(theme):
    assert len(set(colours(theme))) == len(colours(theme)) == 6


@given(st.floats(-4, 4), st.floats(0.3, 6))
def test_ticks_are_round_few_and_within(decade, width):
    low, high = 10.0**decade, 10.0 ** (decade + width)
    ticks = round_ticks(low, high)
    assert 1 <= len(ticks) <= 8 and low * 0.999 <= ticks[0] and ticks[-1] <= high * 1.001
    assert all(f"{tick:.1e}"[:3] in {"1.0", "1.5", "2.0", "3.0", "4.0", "5.0", "6.0", "8.0"} for tick in ticks)


def test_what_has_no_logarithm_is_left_out_of_logarithmic_axes():
    chart = curve_chart({"a": Curve([0.0, 0.1, 1.0], [0.5, 0.0, 2.0])}, Frame("Q-Q", ("x", "y"), ("log", "log")))
    assert chart.axes[0].get_lines()[0].get_xydata().tolist() == [[1.0, 2.0]]
