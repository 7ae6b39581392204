"""Tables of footprints: every trap that these tables hold, in small and on the real ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vigie.acquire.granules import pairs
from vigie.core.errors import VigieError
from vigie.core.swath import FLAGS, PHASES

ROWS = 8


@pytest.fixture
def table():
    """Eight good rows; tests spoil them."""
    random = np.random.default_rng(1)
    columns = {name: random.uniform(150, 280, ROWS).astype(np.float32) for name in pairs.CHANNELS}
    columns |= {name: np.full(ROWS, 0.5, np.float32) for name in pairs.ERA5}
    columns |= {"tcwv": np.full(ROWS, 30_000, np.float32), "tcw": np.full(ROWS, 30.1, np.float32)}
    columns |= {"t2m": np.full(ROWS, 290, np.float32), "skt": np.full(ROWS, 291, np.float32)}
    columns |= {"Latitude": np.linspace(-60, 60, ROWS, dtype=np.float32), "Longitude": np.full(ROWS, 181, np.float32)}
    columns |= {"Month": np.full(ROWS, 7, np.int8), "Day": np.arange(1, ROWS + 1).astype(np.int8)}
    columns |= {"elevation_mean": np.zeros(ROWS, np.float32), "mean_aspect": np.full(ROWS, np.nan, np.float32)}
    return columns | {"DPR rain Rate": np.linspace(0.1, 20, ROWS, dtype=np.float32)}


@pytest.fixture
def read(tmp_path, table):
    def reader(name="dpr_rain_rate_open", source="dpr"):
        np.savez(tmp_path / f"{name}.npz", **table)
        return pairs.read(tmp_path / f"{name}.npz", source)

    return reader


def test_a_table_is_a_swath_one_pixel_wide(read, table):
    found = read()
    assert found["brightness_temperature"].dims == ("scan", "pixel", "channel") and found.sizes["pixel"] == 1
    assert found["channel"].values.tolist() == [
        *("10.65V", "10.65H", "18.70V", "18.70H", "23.80V", "36.64V", "36.64H", "89.00V", "89.00H", "166.00V", "166.00H"),
        *("183.31+-3V", "183.31+-7V"),
    ]
    np.testing.assert_array_equal(found["brightness_temperature"].values[:, 0, 5], table["36v"])
    np.testing.assert_array_equal(found["truth"].values[:, 0], table["DPR rain Rate"])
    assert found["group"].values.tolist()[:2] == ["07-01", "07-02"] and found["day"].values.tolist() == list(range(1, 9))
    assert np.isnat(found["time"].values).all()
    assert found["longitude"].values[0, 0] == -179


def test_water_paths_are_converted_and_agree_with_total_water(read):
    found = read()
    assert found["total_column_water_vapour"].values[0, 0] == pytest.approx(30)
    assert found["total_column_water_vapour"].attrs["units"] == "kg m-2"
    assert found["total_column_cloud_liquid_water"].values[0, 0] == pytest.approx(5e-4)


def test_rows_whose_ancillary_fields_are_all_zero_lack_them(read, table):
    for name in pairs.ERA5:
        table[name][2] = 0.0
    found = read()
    assert found.attrs["count_no_ancillary"] == 1
    assert found["flags"].values[:, 0].tolist() == [0, 0, FLAGS["no_ancillary"], 0, 0, 0, 0, 0]
    for name, _ in pairs.ERA5.values():
        assert np.isnan(found[name].values[2, 0]) and np.isfinite(found[name].values[1, 0])
    assert found["elevation"].values[2, 0] == 0


def test_rows_without_temperatures_are_dropped_and_counted(read, table):
    table["10v"][4] = 0.0
    for name in pairs.CHANNELS[1:]:
        table[name][4] = -9999.9
    found = read()
    assert (found.sizes["scan"], found.attrs["count_dropped"]) == (ROWS - 1, 1)
    assert 5 not in found["day"].values


@pytest.mark.parametrize("fill", [-99.99, -65.37, -33.33, -1e9, -6.67e8])
def test_fills_and_their_mixtures_are_masked(read, table, fill):
    table["cin"][3] = table["siconc"][3] = fill
    found = read()
    for name in ("convective_inhibition", "sea_ice_fraction"):
        assert np.isnan(found[name].values[3, 0]) and np.isfinite(found[name].values[2, 0])
        assert found.attrs[f"count_{name}_masked"] == 1


def test_impossible_elevations_are_masked_and_the_dead_sea_is_not(read, table):
    table["elevation_mean"][:2] = 39320.9, -307.1
    found = read()
    assert np.isnan(found["elevation"].values[0, 0]) and found["elevation"].values[1, 0] == np.float32(-307.1)
    assert found.attrs["count_elevation_masked"] == 1


def test_values_that_interpolation_left_below_zero_are_zero(read, table):
    table["swvl1"][0], table["cape"][0] = -1e-3, -1.8e-12
    found = read()
    for name in ("soil_moisture", "convective_available_potential_energy"):
        assert found[name].values[0, 0] == 0 and found.attrs[f"count_{name}_rounded"] == 1


def test_interference_is_suspect_and_kept_and_so_is_vertical_below_horizontal(read, table):
    table["10v"][0], table["18h"][1] = 305.0, 357.0
    table["10v"][2], table["10h"][2] = 170.0, 180.0
    found = read()
    assert found["flags"].values[:4, 0].tolist() == [FLAGS["suspect"], FLAGS["suspect"], 0, 0]
    assert found.attrs["count_suspect"] == 2
    assert found["brightness_temperature"].values[2, 0, :2].tolist() == [170.0, 180.0]


def test_repeated_rows_are_counted_and_kept(read, table):
    for name in table:
        table[name][6] = table[name][1]
    found = read()
    assert (found.sizes["scan"], found.attrs["count_duplicates"]) == (ROWS, 1)


def test_a_phase_table_has_phases_and_no_rates(read, table):
    del table["DPR rain Rate"]
    table["Prcp flag"] = np.array([0, 1, 2, 0, 1, 2, 9, -1], np.int8)
    found = read("cpr_phase_open", "cpr")
    assert "truth" not in found and found.attrs["label_source"] == "cpr"
    assert found["phase"].values[:, 0].tolist() == [0, 1, 2, 0, 1, 2, 255, 255]


def test_a_rate_of_snow_says_so(read, table):
    table["snow_rate"] = table.pop("DPR rain Rate")
    assert (read("cpr_snow_rate_open", "cpr")["phase"].values == PHASES.index("snow")).all()


def test_the_source_of_labels_must_be_given_and_not_contradict_the_name(read):
    """Simulated rain stands in a column named DPR."""
    assert read("era5_rain_rate_open", "era5").attrs["label_source"] == "era5"
    assert read("anything", "simulated").attrs["label_source"] == "simulated"
    with pytest.raises(VigieError, match="tells another source of labels; found era5"):
        read("era5_rain_rate_open", "dpr")
    with pytest.raises(VigieError, match=r"nobody says where its labels come from.*a column named DPR"):
        read("table", "")
    with pytest.raises(VigieError, match="did you mean 'radar'"):
        read("table", "rader")


def test_what_is_no_table_is_refused(tmp_path, read, table):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(VigieError, match="is no table of footprints"):
        pairs.load(tmp_path / "x.npz")
    np.savez(tmp_path / "o.npz", a=np.array([{}], dtype=object))
    with pytest.raises(VigieError, match="is no table of footprints"):
        pairs.load(tmp_path / "o.npz")
    del table["89h"]
    with pytest.raises(VigieError, match="expected columns 89h"):
        read()
    table["89h"] = table["89v"]
    del table["DPR rain Rate"]
    with pytest.raises(VigieError, match="expected a label: one of DPR rain Rate"):
        read()


def test_counts_can_be_written_as_json(read):
    attributes = read().attrs
    assert json.loads(json.dumps(attributes)) == attributes


REAL = {
    # rows, dropped, without ancillary, duplicates: counted on the files by hand
    "dpr_rain_rate": (6260, 0, 173, 23),
    "dpr_phase": (7973, 0, 210, 11),
    "era5_rain_rate": (7028, 1, 0, None),
    "era5_phase": (9840, 2, 0, None),
    "mixed_rain_rate": (9168, 0, 149, None),
    "cpr_phase": (3350, 0, 0, None),
    "cpr_snow_rate": (2577, 0, 0, 97),
}


@pytest.fixture
def real(samples):
    return lambda name: pairs.read(samples / "precipitation" / "gmi_pairs" / f"{name}_open.npz", name.partition("_")[0])


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_tables_hold_what_was_counted_in_them(real, name):
    rows, dropped, without, duplicates = REAL[name]
    found = real(name)
    told = found.attrs
    assert (found.sizes["scan"], told["count_dropped"], told["count_no_ancillary"]) == (rows, dropped, without)
    assert duplicates is None or told["count_duplicates"] == duplicates
    water = found["total_column_water"].values.ravel()
    vapour = found["total_column_water_vapour"].values.ravel()
    known = np.isfinite(water)
    assert np.corrcoef(water[known], vapour[known])[0, 1] > 0.99
    assert not (found["sea_ice_fraction"] < 0).any() and not (found["convective_inhibition"] < 0).any()
    assert found["day"].values.min() >= 1 and found["day"].values.max() <= 21


@pytest.mark.realdata
def test_figures_of_the_real_tables(real):
    rain, phase = real("dpr_rain_rate"), real("dpr_phase")
    assert np.unique(phase["phase"].values, return_counts=True)[1].tolist() == [4020, 2850, 1103]
    rate = rain["truth"].values
    assert (round(float(rate.max()), 1), int((rate > 5).sum()), int((rate > 10).sum())) == (19.8, 499, 123)
    assert int((rain["day"].values <= 14).sum()) == 4240
    assert int((rain["brightness_temperature"].values[..., 0] > 300).sum()) == 4
    assert int((phase["brightness_temperature"].values[..., 0] > 300).sum()) == 36
    vertical, horizontal = (rain["brightness_temperature"].values[:, 0, channel] for channel in (0, 1))
    assert int((vertical < horizontal).sum()) == 33
    assert real("era5_phase").attrs["count_elevation_masked"] == 1


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("dpr_phase", "dpr_rain_rate", 42),
        ("mixed_rain_rate", "dpr_rain_rate", 291),
        ("mixed_rain_rate", "era5_rain_rate", 355),
        ("cpr_phase", "cpr_snow_rate", 79),
    ],
)
def test_rows_that_real_tables_share_are_found_by_their_keys(real, one, other, shared):
    keys = [set(pairs.row_keys(real(name)["brightness_temperature"].values).tolist()) for name in (one, other)]
    assert len(keys[0] & keys[1]) == shared
