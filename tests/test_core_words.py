"""Legends, scenes, errors and the layout of the cube."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from vigie.core.cube import band_coordinates, check
from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend, Legend, LegendClass
from vigie.core.scene import Band, QualityMask, Scene, Truth

LEAVES = Legend("leaves", tuple(LegendClass(n, name, "#000000") for n, name in enumerate(("a", "b", "c"))))
BAND = Band("red", "reflectance", "x.tif", 1, 10.0, "1", 0.66, 0.03)


def test_a_legend_with_a_code_used_twice_is_refused() -> None:
    with pytest.raises(VigieError, match="ambiguous"):
        Legend("bad", (LegendClass(0, "a", "#000000"), LegendClass(0, "b", "#000000")))


def test_unknown_leaf_names_the_nearest() -> None:
    with pytest.raises(VigieError, match="no class 'aa'"):
        LabelLegend("x", {0: ("aa", ("aa",))}).matrix(LEAVES)


def test_a_leaf_in_two_labels_is_refused() -> None:
    with pytest.raises(VigieError, match="uses a leaf twice"):
        LabelLegend("x", {0: ("p", ("a", "b")), 1: ("q", ("b",))}).matrix(LEAVES)


def test_a_label_without_a_leaf_is_refused() -> None:
    with pytest.raises(VigieError, match=r"without any leaf class; found \['nothing'\]"):
        LabelLegend("x", {0: ("nothing", ()), 1: ("q", ("b",))}).matrix(LEAVES)


@pytest.mark.parametrize(
    ("groups", "unknown"), [({0: ("p", ("a",)), 1: ("p", ("b",))}, (255,)), ({0: ("p", ("a",)), 255: ("q", ("b",))}, (7, 255))]
)
def test_an_ambiguous_label_legend_is_refused(groups, unknown):
    with pytest.raises(VigieError, match="label legend 'x' is ambiguous"):
        LabelLegend("x", groups, unknown)


def test_codes_nobody_declared_are_refused_and_named() -> None:
    with pytest.raises(VigieError, match=r"found \[7\]"):
        LabelLegend("x", {0: ("p", ("a",)), 1: ("q", ("b",))}).rows(np.array([[0, 7, 255]], dtype=np.uint8))


@given(st.lists(st.sampled_from([0, 3, 255]), min_size=1, max_size=40))
def test_rows_invert_codes(codes: list[int]) -> None:
    legend = LabelLegend("x", {0: ("p", ("a",)), 3: ("q", ("b", "c"))})
    rows = legend.rows(np.array(codes, dtype=np.uint8))
    assert [255 if row < 0 else int(legend.codes[row]) for row in rows] == codes


def test_coarse_probability_is_the_sum_of_its_leaves() -> None:
    matrix = LabelLegend("x", {0: ("p", ("a",)), 1: ("q", ("b", "c"))}).matrix(LEAVES)
    np.testing.assert_allclose(matrix @ np.array([0.2, 0.3, 0.5]), [0.2, 0.8])


def test_a_scene_survives_plain_dictionaries() -> None:
    scene = Scene(
        "s",
        "landsat-7",
        "2000-10-30T00:00:00Z",
        (BAND,),
        "EPSG:32645",
        (10.0, 0.0, 0.0, 0.0, -10.0, 0.0),
        (5, 7),
        {},
        (QualityMask("qa.tif", 1, {"cloud": (3,)}, {}),),
        Truth("t.tif", "ice"),
        "everest",
        "g",
        "free",
        {"x.tif": "00"},
    )
    assert Scene.from_dict(scene.to_dict()) == scene


def test_errors_cross_process_borders_whole() -> None:
    error = pickle.loads(pickle.dumps(VigieError("no CRS", found="none", expected="one", do="assign it")))  # noqa: S301
    assert str(error) == "no CRS; found none; expected one; to mend it: assign it" and error.do == "assign it"


def cube_scene(**changes: object) -> xr.Dataset:
    scene = xr.Dataset(
        {
            "observation": (("band", "y", "x"), np.zeros((1, 2, 3), np.float32)),
            "flags": (("y", "x"), np.zeros((2, 3), np.uint8)),
        },
        coords=band_coordinates([BAND]),
        attrs={"scene": "s"},
    )
    return scene.assign(changes)


def test_a_good_cube_passes() -> None:
    check(cube_scene())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (cube_scene().drop_vars("flags"), "variable 'flags' is not in place"),
        (cube_scene(flags=(("y", "x"), np.zeros((2, 3), np.int16))), "wrong types"),
        (cube_scene().drop_vars("kind"), "bands are not described"),
        (cube_scene().assign_coords(kind=("band", ["smell"])), "unknown kind of band"),
    ],
)
def test_a_cube_out_of_shape_is_refused_with_the_reason(broken: xr.Dataset, message: str) -> None:
    with pytest.raises(VigieError, match=message):
        check(broken)
