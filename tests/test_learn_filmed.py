"""A multispectral scene seen again as film: one band, labels kept, saturation flagged, one film a seed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.cube import band_coordinates, check, flagged
from vigie.core.legend import LabelLegend
from vigie.core.scene import Band
from vigie.learn.film import FilmSettings
from vigie.learn.filmed import Filmed, film_copies, filmed
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, measure

BANDS = [
    Band(name, "reflectance", "", 1, 10.0, "1", micron, 0.05)
    for name, micron in (("green", 0.56), ("red", 0.66), ("nir", 0.83), ("swir16", 1.6))
]
SIZES = {"y": 48, "x": 40}
DAMAGED = FilmSettings(dust=0.01, scratches=8, reseau_share=1.0, reseau_px=(15.0, 20.0), saturated=(0.2, 0.4))


def read(window: object) -> xr.Dataset:
    rho = np.full((4, 48, 40), 0.1, np.float32)
    rho[:, :, 20:] = 0.9
    flags = np.zeros((48, 40), np.uint8)
    flags[:5] = 1
    whole = xr.Dataset(
        {
            "observation": (("band", "y", "x"), rho),
            "flags": (("y", "x"), flags),
            "truth": (("y", "x"), (rho[0] > 0.5).astype(np.uint8)),
        },
        coords=band_coordinates(BANDS),
        attrs={"scene": "a", "sensor": "s"},
    )
    return whole.isel(window)  # type: ignore[arg-type]


WHOLE = {d: slice(0, n) for d, n in SIZES.items()}
LABELS = LabelLegend("ice", {0: ("land", ("land",)), 1: ("ice", ("ice",))})


def film_of(seed: int, settings: FilmSettings | None = None) -> Filmed:
    return filmed(read, SIZES, 3, (seed,), settings)


def test_film_is_a_scene_of_one_band_with_the_labels_of_its_origin() -> None:
    film = film_of(1, FilmSettings(dust=0, scratches=0, reseau_share=0))(WHOLE)
    check(film)
    assert film["band"].values.tolist() == ["pan"] and film["kind"].values.tolist() == ["pan"]
    np.testing.assert_array_equal(film["truth"], read(WHOLE)["truth"])
    dn = film["observation"].values[0]
    assert np.isnan(dn[:5]).all() and np.isfinite(dn[5:]).all()
    assert np.nanmedian(dn[5:, 22:]) > np.nanmedian(dn[5:, :18]) and np.nanmax(dn) <= 255
    assert not flagged(film["flags"], "saturated").values[:5].any()


def test_another_seed_is_another_film_and_the_same_seed_the_same() -> None:
    one, again, other = (film_of(s)(WHOLE)["observation"].values for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 47), st.integers(0, 39), st.integers(1, 48), st.integers(1, 40), st.integers(0, 5))
def test_a_window_is_the_same_pixels_of_the_whole(top: int, left: int, height: int, width: int, seed: int) -> None:
    window = {"y": slice(top, min(48, top + height)), "x": slice(left, min(40, left + width))}
    film = film_of(seed, DAMAGED)
    xr.testing.assert_identical(film(window), film(WHOLE).isel(window))


def test_two_windows_carry_other_grain_and_other_scratches() -> None:
    def flat(window: Mapping[str, slice]) -> xr.Dataset:
        sizes = {d: part.stop - part.start for d, part in window.items()}
        shape = (sizes["y"], sizes["x"])
        return xr.Dataset(
            {
                "observation": (("band", "y", "x"), np.full((4, *shape), 0.3, np.float32)),
                "flags": (("y", "x"), np.zeros(shape, np.uint8)),
            },
            coords=band_coordinates(BANDS),
        )

    def corners(**damage: object) -> list[np.ndarray]:
        clean = {
            "saturated": (0, 0),
            "field_angle_deg": (0, 0),
            "grain_dn": (0, 0),
            "dust": 0,
            "scratches": 0,
            "reseau_share": 0,
        }
        film = filmed(flat, {"y": 4000, "x": 4000}, 3, (0,), FilmSettings(**clean | damage))
        places = [(0, 0), (0, 256), (256, 0), (2560, 512)]
        return [film({"y": slice(y, y + 64), "x": slice(x, x + 64)})["observation"].values[0] for y, x in places]

    for one, other in combinations(corners(grain_dn=(6, 6)), 2):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    for one, other in combinations(corners(scratches=20), 2):
        assert not np.array_equal(one, other)
    for one, other in combinations(corners(dust=0.01), 2):
        assert not np.array_equal(one, other)


def test_two_scenes_get_other_films_and_one_scene_always_the_same() -> None:
    scaling = RobustScaling()
    one, again, other = (
        film_copies(LabelledScene(name, read, SIZES, measure(read, SIZES, scaling), LABELS, "sentinel-2"), 2, scaling, seed=0)
        for name in "aab"
    )
    films = [scene.read.film for scene in (*one, *other)]
    assert len({film.speed for film in films}) == 4 and len({film.keys for film in films}) == 4
    assert [scene.read for scene in one] == [scene.read for scene in again]


def test_cloud_and_shadow_stay_and_what_lacks_a_band_is_missing() -> None:
    bits = {"nodata": 1, "saturated": 2, "shadow": 4, "cloud": 8, "snow": 32}

    def cloudy(window: Mapping[str, slice]) -> xr.Dataset:
        scene = read(WHOLE)
        for row, bit in enumerate(bits.values(), start=10):
            scene["flags"].values[row] = bit
        scene["observation"].values[1, 20] = np.nan
        return scene.isel(window)

    film = filmed(cloudy, SIZES, 3, (0,), FilmSettings(saturated=(0, 0), grain_dn=(0, 0), dust=0, scratches=0))(WHOLE)
    found = film["flags"].values[:, 5]
    assert found[10:15].tolist() == [1, 0, 4, 8, 0] and found[20] == 1
    assert np.isnan(film["observation"].values[0, [10, 20]]).all() and np.isfinite(film["observation"].values[0, 11:20]).all()


def test_the_reader_pickles() -> None:
    assert pickle.dumps(film_of(3))


def test_copies_have_their_own_statistics_and_film_makes_none() -> None:
    scaling = RobustScaling()
    scene = LabelledScene("a", read, SIZES, measure(read, SIZES, scaling), LABELS, "sentinel-2")
    copies = film_copies(scene, 2, scaling, seed=0)
    assert [copy.statistics["band"].values.tolist() for copy in copies] == [["pan"], ["pan"]]
    assert film_copies(copies[0], 2, scaling, seed=0) == []
