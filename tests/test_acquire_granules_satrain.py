"""Scenes of SatRain, written here in the layout of its files: on the swath and gridded, with and without their neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from vigie.acquire.granules import satrain
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS

STAMP = "20180101120000"
PACKED = {"dtype": "uint16", "_FillValue": 65535, "scale_factor": 0.01}


def save(folder, kind, dataset, encoding=None):
    (folder / kind).mkdir(exist_ok=True)
    path = folder / kind / f"{kind}_{STAMP}.nc"
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding or {})
    return path


@pytest.fixture
def observed():
    random = np.random.default_rng(2)
    tb = random.uniform(150, 290, (5, 4, 13)).round(2)
    tb[0, 0] = np.nan
    position = np.linspace(30, 31, 20, dtype=np.float32).reshape(5, 4)
    time = np.datetime64("2018-01-01T12:00:00", "ns") + np.arange(5) * np.timedelta64(2, "s")
    return xr.Dataset(
        {
            "observations": (("scan", "pixel", "channel"), tb),
            "earth_incidence_angle": (("scan", "pixel", "channel"), tb * 0 + 52.8),
        },
        {
            "latitude": (("scan", "pixel"), position),
            "longitude": (("scan", "pixel"), position + 230),
            "scan_time": ("scan", time),
        },
        {"gpm_input_file": "1C-R.GPM.GMI.V07A.HDF5"},
    )


def test_a_scene_on_the_swath_with_its_neighbours(tmp_path, observed):
    path = save(tmp_path, "gmi", observed, {"observations": PACKED})
    rain = np.full((5, 4), 2.5)
    quality = np.ones((5, 4))
    quality[1, 1] = 0.3
    fields = {"surface_precip": (("scan", "pixel"), rain), "radar_quality_index": (("scan", "pixel"), quality)}
    save(tmp_path, "target", xr.Dataset(fields), {"surface_precip": PACKED})
    water = np.full((5, 4), 20.0, np.float32)
    save(tmp_path, "ancillary", xr.Dataset({"total_column_water_vapor": (("scan", "pixel"), water)}))
    found = satrain.read(path)
    np.testing.assert_allclose(found["brightness_temperature"].values, observed["observations"].values, atol=0.006)
    assert found["flags"].values[0].tolist() == [FLAGS["nodata"], 0, 0, 0]
    assert np.isnan(found["truth"].values[1, 1]) and found["truth"].values[2, 2] == 2.5
    assert found["total_column_water_vapour"].values[0, 0] == 20
    assert found["longitude"].values.max() < 0 and found["channel"].values[-1] == "183.31+-7V"
    assert str(found["time"].values[1]) == "2018-01-01T12:00:02.000000000"
    assert (found.attrs["label_source"], found.attrs["granule"]) == ("radar", "1C-R.GPM.GMI.V07A.HDF5")


def test_a_gridded_scene_without_neighbours_has_its_rows_as_scans(tmp_path):
    tb = np.random.default_rng(3).uniform(150, 290, (13, 3, 2)).astype(np.float32)
    axes = {"latitude": np.array([40.0, 39.0, 38.0]), "longitude": np.array([-100.0, -99.0])}
    path = save(tmp_path, "gmi", xr.Dataset({"observations": (("channel", "latitude", "longitude"), tb)}, axes))
    found = satrain.read(path)
    np.testing.assert_array_equal(found["brightness_temperature"].values, tb.transpose(1, 2, 0))
    assert found["latitude"].values[:, 0].tolist() == [40, 39, 38] and found["longitude"].values[0].tolist() == [-100, -99]
    assert "truth" not in found and "label_source" not in found.attrs
    assert (found["flags"].values == FLAGS["no_ancillary"]).all()
    assert str(found["time"].values[2]) == "2018-01-01T12:00:00.000000000"


def test_a_scene_of_atms_has_nine_channels(tmp_path):
    tb = np.full((2, 2, 9), 250.0)
    positions = {name: (("scan", "pixel"), np.zeros((2, 2))) for name in ("latitude", "longitude")}
    found = satrain.read(save(tmp_path, "atms", xr.Dataset({"observations": (("scan", "pixel", "channel"), tb)}, positions)))
    assert (found.attrs["sensor"], found["polarisation"].values.tolist()) == ("ATMS", [""] * 9)


def test_what_is_no_scene_is_refused(tmp_path, observed):
    path = save(tmp_path, "gmi", observed.isel(channel=slice(3)))
    with pytest.raises(VigieError, match=r"holds no scene of GMI.*with 13 channels"):
        satrain.read(path)
    with pytest.raises(VigieError, match="is not named as SatRain"):
        satrain.read(path.rename(tmp_path / "scene.nc"))
    path = save(tmp_path, "gmi", observed)
    save(tmp_path, "target", xr.Dataset({"rain": ("scan", np.zeros(5))}))
    with pytest.raises(VigieError, match=r"holds no rain; found \['rain'\]; expected surface_precip"):
        satrain.read(path)
    path.write_bytes(b"not NetCDF")
    with pytest.raises(VigieError, match="cannot be read"):
        satrain.read(path)
