"""The vocabulary: every entry is complete, what is packed reads back, and what vigie writes is in it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.cube import flags_attributes
from vigie.core.errors import VigieError
from vigie.core.legend import Legend, LegendClass
from vigie.core.vocabulary import Variable, named, variables
from vigie.learn.heads import ClassHead
from vigie.publish.look import RAMPS
from vigie.publish.netcdf import AXES

EVERY = pytest.mark.parametrize("variable", variables().values(), ids=variables())
PACKED = [variable for variable in variables().values() if variable.stored]
STANDARD = {
    "air_temperature",
    "atmosphere_convective_available_potential_energy",
    "atmosphere_convective_inhibition",
    "atmosphere_mass_content_of_cloud_ice",
    "atmosphere_mass_content_of_cloud_liquid_water",
    "atmosphere_mass_content_of_water",
    "atmosphere_mass_content_of_water_vapor",
    "brightness_temperature",
    "eastward_wind",
    "land_area_fraction",
    "latitude",
    "longitude",
    "lwe_snowfall_rate",
    "lwe_thickness_of_surface_snow_amount",
    "northward_wind",
    "projection_x_coordinate",
    "projection_y_coordinate",
    "quality_flag",
    "rainfall_rate",
    "sea_ice_area_fraction",
    "status_flag",
    "cell_area",
    "surface_altitude",
    "surface_temperature",
    "thickness_of_rainfall_amount",
    "volume_fraction_of_condensed_water_in_soil",
}
"""Names looked up in CF's standard name table."""


@EVERY
def test_an_entry_is_complete(variable: Variable) -> None:
    assert variable.long_name
    assert not variable.long_name.endswith(".")
    assert variable.standard_name in STANDARD | {""}
    assert variable.axis in ("", "X", "Y")
    assert variable.ramp in RAMPS
    low, high = variable.shown
    assert low < high
    if variable.valid_range is not None:
        assert variable.units
        assert variable.valid_range[0] <= low < high <= variable.valid_range[1]


@pytest.mark.parametrize("variable", PACKED, ids=lambda variable: variable.name)
def test_the_fill_value_is_no_value(variable: Variable) -> None:
    empty = variable.empty(("y", "x"), (2, 3))
    low, high = empty.attrs["valid_range"].tolist()
    assert not low <= empty.encoding["_FillValue"] <= high
    assert empty.dtype == empty.attrs["valid_range"].dtype == np.dtype(variable.stored)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.sampled_from(PACKED))
def test_what_is_packed_reads_back_within_half_a_step(values: list[float], variable: Variable) -> None:
    packed = variable.pack(np.array(values, dtype=np.float32))
    read = xr.decode_cf(xr.Dataset({"v": ("i", packed, {**variable.attributes, **variable.packing, "_FillValue": 65535})}))
    np.testing.assert_allclose(read["v"].values, values, atol=0.51 * variable.step)


def test_values_outside_the_range_take_its_ends() -> None:
    assert named("probability").pack(np.array([-1e-7, 1.0 + 1e-6])).tolist() == [0, 10000]


def test_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(VigieError, match=r"no variable 'probabilty'.*did you mean 'probability'"):
        named("probabilty")


def test_a_variable_that_is_not_packed_says_so() -> None:
    with pytest.raises(VigieError, match="'doubt' is not packed"):
        named("doubt").pack(np.zeros(1))


def test_what_is_written_is_in_the_vocabulary() -> None:
    ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    template = ClassHead(ice).template((2, 2))
    for name, array in template.data_vars.items():
        assert named(str(name)).attributes.items() <= array.attrs.items()
    assert named("flags").attributes.items() <= flags_attributes().items()
    assert {named(axis).name for axis in AXES} == set(AXES)
