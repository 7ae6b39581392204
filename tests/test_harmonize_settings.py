"""What can be chosen about grids."""

import pytest
from pydantic import ValidationError

from vigie.harmonize.settings import GridSettings


@pytest.mark.parametrize("crs", ["EPSG:99999", "utm45"])
def test_a_coordinate_system_that_nobody_knows_is_refused_before_any_work(crs):
    with pytest.raises(ValidationError, match="a coordinate system that PROJ knows"):
        GridSettings(crs=crs)
    assert GridSettings(crs="EPSG:32645").crs == "EPSG:32645"
