"""A multispectral scene seen again as film: one band, labels kept, saturation flagged, one film a seed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from vigie.core.cube import band_coordinates, check, flagged
from vigie.core.legend import LabelLegend
from vigie.core.scene import Band
from vigie.learn.filmed import Filmed, film_copies
from vigie.learn.patches import LabelledScene
from vigie.learn.scaling import RobustScaling, measure

BANDS = [
    Band(name, "reflectance", "", 1, 10.0, "1", micron, 0.05)
    for name, micron in (("green", 0.56), ("red", 0.66), ("nir", 0.83), ("swir16", 1.6))
]
SIZES = {"y": 48, "x": 40}


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


def test_film_is_a_scene_of_one_band_with_the_labels_of_its_origin() -> None:
    film = Filmed(read, seed=1)(WHOLE)
    check(film)
    assert film["band"].values.tolist() == ["pan"] and film["kind"].values.tolist() == ["pan"]
    np.testing.assert_array_equal(film["truth"], read(WHOLE)["truth"])
    dn = film["observation"].values[0]
    assert np.isnan(dn[:5]).all() and np.isfinite(dn[5:]).all()
    assert np.nanmedian(dn[5:, 22:]) > np.nanmedian(dn[5:, :18]) and np.nanmax(dn) <= 255
    assert not flagged(film["flags"], "saturated").values[:5].any()


def test_another_seed_is_another_film_and_the_same_seed_the_same() -> None:
    one, again, other = (Filmed(read, seed=s)(WHOLE)["observation"].values for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other, equal_nan=True)


def test_copies_have_their_own_statistics_and_film_makes_none() -> None:
    scaling = RobustScaling()
    scene = LabelledScene("a", read, SIZES, measure(read, SIZES, scaling), LABELS)
    copies = film_copies(scene, 2, scaling, seed=0)
    assert [copy.statistics["band"].values.tolist() for copy in copies] == [["pan"], ["pan"]]
    assert film_copies(copies[0], 2, scaling, seed=0) == []
