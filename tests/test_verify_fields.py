"""Fractions and spectra of fields equal those of scores and of loops, add over tiles, and give published figures."""

from __future__ import annotations

import io
import tarfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import fft, ndimage

from vigie.core.errors import VigieError
from vigie.verify.fields import FieldSample, count_fractions, finish_fractions, window_count
from vigie.verify.rain import RainSample, count_detections, count_rates, finish_detections, finish_rates
from vigie.verify.spectra import (
    COHERENCE,
    count_coherence,
    count_member_coherence,
    count_power,
    finish_coherence,
    finish_member_coherence,
    finish_power,
    slope,
)
from vigie.verify.tails import tail_statistics
from vigie.verify.tally import add_all


def texture(seed: int, size: int = 64, members: int = 1) -> np.ndarray:
    """Correlated rain-like fields (member, y, x)."""
    noise = np.random.default_rng(seed).normal(size=(members, size, size))
    return np.maximum(np.exp(2 * ndimage.gaussian_filter(noise, (0, 2, 2)) / 0.14) - 1.0, 0.0)


def holed(seed: int, size: int = 40) -> FieldSample:
    truth, estimate = texture(seed, size, 2)
    rng = np.random.default_rng(seed)
    truth[rng.random(truth.shape) < 0.2], estimate[:5] = np.nan, np.nan
    return FieldSample(estimate, truth)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_fractions_equal_those_of_scores_where_windows_are_whole(size: int) -> None:
    from scores.spatial import fss_2d_single_field

    truth, estimate = texture(0, 50, 2)
    half = size // 2
    whole = slice(half, 50 - half)
    found = finish_fractions(count_fractions(FieldSample(estimate, truth, {"y": whole, "x": whole}), (1.0, 5.0), (size,)))
    for t in (1.0, 5.0):
        theirs = fss_2d_single_field(
            estimate, truth, event_threshold=t, window_size=(size, size), threshold_operator=np.greater_equal
        )
        np.testing.assert_allclose(found["fss"].sel(threshold_mm_h=t, size_px=size), theirs, rtol=1e-12)


def test_fractions_equal_a_loop_over_valid_pixels() -> None:
    sample = holed(1)
    valid = np.isfinite(sample.estimate) & np.isfinite(sample.truth)
    above = below = 0.0
    for y, x in zip(*np.nonzero(valid), strict=True):
        window = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        there = valid[window]
        p, o = (np.mean(rain[window][there] >= 1.0) for rain in (sample.estimate, sample.truth))
        above, below = above + (p - o) ** 2, below + p**2 + o**2
    found = finish_fractions(count_fractions(sample, (1.0,), (5,)))
    np.testing.assert_allclose(found["fss"], [[1 - above / below]], rtol=1e-12)
    np.testing.assert_allclose(found["fss_useful"], [0.5 + (sample.truth[valid] >= 1.0).mean() / 2], rtol=1e-12)


def test_tiles_with_a_halo_add_to_the_whole_field() -> None:
    sample, sizes = holed(2), (1, 5, 9)
    tiles = []
    for start in range(0, 40, 16):
        stop, low = min(start + 16, 40), max(start - 4, 0)
        read = slice(low, min(stop + 4, 40))
        tiles.append(FieldSample(sample.estimate[read], sample.truth[read], {"y": slice(start - low, stop - low)}))
    whole, added = count_fractions(sample, sizes_px=sizes), add_all(count_fractions(tile, sizes_px=sizes) for tile in tiles)
    xr.testing.assert_allclose(added.total, whole.total, rtol=1e-12)
    xr.testing.assert_equal(added.weight, whole.weight)
    np.testing.assert_array_equal(
        window_count(sample.truth > 1, 5),
        ndimage.convolve((sample.truth > 1).astype(int), np.ones((5, 5), int), mode="constant"),
    )


def rings(size: int) -> np.ndarray:
    return np.rint(np.hypot(*np.indices((size, size)))).astype(int)


def test_coherence_equals_a_loop_and_adds() -> None:
    truth, estimate = texture(3, 70, 2)
    estimate += 0.5 * truth
    truth[40, 40] = np.nan  # the last of four windows of 32 is lost
    pairs = [
        tuple(fft.dctn(a[y : y + 32, x : x + 32], norm="ortho") for a in (estimate, truth))
        for y, x in ((0, 0), (0, 32), (32, 0))
    ]
    found = finish_coherence(count_coherence(FieldSample(estimate, truth)))
    for k in (1, 7, 31):
        e, t = (np.concatenate([pair[i][rings(32) == k] for pair in pairs]) for i in (0, 1))
        np.testing.assert_allclose(found["coherence"].sel(wavenumber=k), abs(e @ t) / np.sqrt((e @ e) * (t @ t)), rtol=1e-12)
        np.testing.assert_allclose(found["power_ratio"].sel(wavenumber=k), (e @ e) / (t @ t), rtol=1e-12)
    strips = [FieldSample(estimate[s], truth[s]) for s in (slice(0, 32), slice(32, 70))]
    xr.testing.assert_allclose(finish_coherence(add_all(map(count_coherence, strips))), found)


def test_the_effective_resolution_is_where_waves_are_cut() -> None:
    truth = texture(4, 32)[0]
    waves = fft.dctn(truth, norm="ortho")
    cut = fft.idctn(np.where(rings(32) <= 8, waves, 0.0), norm="ortho")
    found = finish_coherence(count_coherence(FieldSample(cut, truth)))
    assert found["effective_resolution_px"] == 2 * 32 / 8 == found["wavelength_px"].sel(wavenumber=8)
    np.testing.assert_allclose(found["coherence"].sel(wavenumber=slice(1, 8)), 1.0, rtol=1e-9)
    noise = np.random.default_rng(0).normal(size=(2, 320, 320))
    assert finish_coherence(count_coherence(FieldSample(*noise)))["effective_resolution_px"] == np.inf
    assert np.isnan(COHERENCE.finish(count_coherence(FieldSample(truth * np.nan, truth)))["effective_resolution_px"])


def test_the_slope_of_a_made_spectrum_is_found() -> None:
    k = np.hypot(*np.indices((128, 128)))
    waves = np.random.default_rng(5).normal(size=(40, 128, 128)) * np.where(k > 0, k, 1.0) ** -1.5
    fields = fft.idctn(waves, axes=(1, 2), norm="ortho") + 10.0
    spectrum = finish_power(add_all(count_power(field) for field in fields))["power"]
    assert abs(float(slope(spectrum, 4, 64)) + 3.0) < 0.02
    np.testing.assert_allclose(spectrum.sel(wavenumber=20) * 20.0**3, 1.0, atol=0.1)
    assert count_power(fields[0] - 20.0).weight["power"].sum() == 0  # nothing is wet


def test_member_coherence_equals_a_loop_over_pairs() -> None:
    *members, truth = texture(6, 32, 5)
    found = finish_member_coherence(count_member_coherence(np.stack(members), truth))
    waves = [fft.dctn(field, norm="ortho")[rings(32) == 5] for field in (*members, truth)]
    power = np.mean([w @ w for w in waves[:-1]])
    between = abs(np.mean([a @ b for a, b in combinations(waves[:-1], 2)])) / power
    with_truth = abs(np.mean([w @ waves[-1] for w in waves[:-1]])) / np.sqrt(power * (waves[-1] @ waves[-1]))
    at = found.sel(wavenumber=5)
    np.testing.assert_allclose([at["between_members"], at["with_truth"]], [between, with_truth], rtol=1e-12)


def test_only_members_like_the_truth_are_as_coherent_with_it() -> None:
    common, own, *others = np.random.default_rng(7).normal(size=(6, 320, 320))

    def gap(noise: float) -> float:
        members = common + noise * np.stack(others)
        found = finish_member_coherence(count_member_coherence(members, common + own))
        return float((found["between_members"] - found["with_truth"]).sel(wavenumber=slice(2, 12)).mean())

    assert abs(gap(1.0)) < 0.03
    assert gap(0.3) > 0.1


def test_faults_are_named() -> None:
    with pytest.raises(VigieError, match="fields do not fit"):
        FieldSample(np.zeros((3, 3)), np.zeros((3, 4)))
    with pytest.raises(VigieError, match="odd number"):
        window_count(np.ones((3, 3), bool), 4)
    with pytest.raises(VigieError, match="two members or more"):
        count_member_coherence(np.zeros((1, 32, 32)), np.zeros((32, 32)))
    with pytest.raises(VigieError, match="two wavelengths"):
        slope(finish_power(count_power(texture(0, 128)[0]))["power"], 4, 4)


def radolan(samples: Path, hours: int) -> np.ndarray:
    """Rain of the first hours of 2022-10-18 (hour, y, x), mm/h, NaN where no radar sees."""
    with tarfile.open(samples / "precipitation" / "rain_fields" / "RW-20221018.tar.gz") as archive:
        members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)[:hours]
        texts = [archive.extractfile(m).read().decode() for m in members]  # type: ignore[union-attr]
    tenths = np.stack([np.loadtxt(io.StringIO(text), skiprows=6) for text in texts])
    return np.where(tenths < 0, np.nan, tenths / 10)


def block_mean(field: np.ndarray, size: int) -> np.ndarray:
    h, w = field.shape
    return field.reshape(h // size, size, w // size, size).mean(axis=(1, 3))


def blurred(field: np.ndarray, size: int) -> np.ndarray:
    """Block means brought back by bilinear interpolation; missing pixels count as dry, and stay missing."""
    at = (np.arange(field.shape[0]) + 0.5) / size - 0.5
    places = np.meshgrid(at, at, indexing="ij")
    smooth = ndimage.map_coordinates(block_mean(np.nan_to_num(field), size), places, order=1, mode="nearest")
    return np.where(np.isfinite(field), smooth, np.nan)


BLURRED = {
    # blocks of 4 km: r, RMSE, CSI 1/5, p99.9, max and wet ratio, FSS of 1 mm at 1 and 5 px, of 5 mm, effective resolution km
    3: (0.981, 0.200, 0.853, 0.761, 0.89, 0.71, 1.08, 0.920, 0.987, 0.865, 0.973, 23),
    5: (0.954, 0.312, 0.771, 0.644, 0.79, 0.61, 1.17, 0.871, 0.961, 0.784, 0.926, 37),
    9: (0.892, 0.467, 0.666, 0.425, 0.66, 0.46, 1.33, 0.799, 0.899, 0.596, 0.754, 85),
}


@pytest.mark.realdata
def test_blurred_radar_scores_as_published(samples: Path) -> None:
    """Notes on precipitation 5.6: twelve hours at 4 km against their blurred copies."""
    truth = np.stack([block_mean(hour, 4) for hour in radolan(samples, 12)])
    for size, figures in BLURRED.items():
        estimate = np.stack([blurred(hour, size) for hour in truth])
        pairs = [FieldSample(*pair) for pair in zip(estimate, truth, strict=True)]
        rates = finish_rates(count_rates(RainSample(estimate, truth)))
        csi = finish_detections(count_detections(RainSample(estimate, truth), (1.0, 5.0)))["csi"]
        tails = tail_statistics(estimate[None], truth).isel(draw=0)
        fss = finish_fractions(add_all(count_fractions(pair, (1.0, 5.0), (1, 5)) for pair in pairs))["fss"]
        resolution = finish_coherence(add_all(map(count_coherence, pairs)))["effective_resolution_px"] * 4
        pointwise = [rates["correlation"], rates["rmse"], *csi.values]
        np.testing.assert_allclose([*pointwise, *fss.values.ravel()], [*figures[:4], *figures[7:11]], atol=1e-3)
        np.testing.assert_allclose([tails[f"{name}_ratio"] for name in ("p999", "max", "wet")], figures[4:7], atol=0.006)
        assert round(float(resolution)) == figures[11]


@pytest.mark.realdata
def test_the_slope_of_radar_rain_is_as_published(samples: Path) -> None:
    """Notes on precipitation 5.6: 1 km, windows of 128 that are valid and more than a tenth wet."""
    spectrum = finish_power(add_all(count_power(hour) for hour in radolan(samples, 12)))["power"]
    found = [float(slope(spectrum, *band)) for band in ((4, 64), (8, 64), (4, 16))]
    np.testing.assert_allclose(found, [-3.14, -3.46, -2.74], atol=0.006)
