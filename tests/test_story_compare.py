"""Scores that several runs share: what is written is what is read."""

import numpy as np
import xarray as xr

from vigie.story.compare import read_group


def test_a_group_keeps_the_coordinates_it_shares_with_the_group_above(tmp_path):
    names = {"label": ["land", "water"]}
    tree = xr.DataTree.from_dict(
        {
            "/ice": xr.Dataset({"iou": ("label", [0.5, 0.6])}, names | {"model": ["network"]}),
            "/ice/reliability": xr.Dataset({"said": (("label", "bin"), np.ones((2, 3)))}, names),
        }
    )
    path = tmp_path / "scores.nc"
    tree.to_netcdf(path, engine="h5netcdf")
    found = read_group(path, "ice/reliability")
    assert found["label"].values.tolist() == ["land", "water"]
    assert "model" not in found.coords
