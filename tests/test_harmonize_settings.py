"""What can be chosen about grids."""

import pytest
from pydantic import ValidationError

from vigie.harmonize.settings import GridSettings


@pytest.mark.parametrize("crs", ["EPSG:99999", "utm45"])
def test_a_coordinate_system_that_nobody_knows_is_refused_before_any_work(crs):
    with pytest.raises(ValidationError, match="a coordinate system that PROJ knows"):
        GridSettings(crs=crs)
    assert GridSettings(crs="EPSG:32645").crs == "EPSG:32645"


@pytest.mark.parametrize(
    "bounds", [(10, 0, 0, 10), (0, 10, 10, 0), (0, 0, 0, 10), (0, 0, float("inf"), 10), (0, 0, float("nan"), 10)]
)
def test_bounds_of_no_area_are_refused_before_any_work(bounds):
    with pytest.raises(ValidationError, match="west, south, east, north, finite, with west < east and south < north"):
        GridSettings(bounds=bounds)
    assert GridSettings(bounds=(0, 0, 10, 20)).bounds == (0.0, 0.0, 10.0, 20.0)
