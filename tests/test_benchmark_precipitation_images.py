"""The benchmark of images: its scores know a perfect field from a blurred one, and the whole of it runs, small."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vigie.synthetic.rain import Climate, gaussian_field

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
FINEST_PX = 64 / 31


@pytest.fixture
def bench(load_benchmark):
    return {name: load_benchmark(name) for name in ("precipitation_scenes", "precipitation_textures", "precipitation_images")}


@pytest.fixture
def rain():
    rng = np.random.default_rng(0)
    return [Climate(wet_fraction=0.4).rain(gaussian_field((96, 96), 5.0, 3.7, 100.0, rng)).astype(np.float32) for _ in range(4)]


def test_the_truth_itself_is_perfect_and_a_blurred_copy_is_not(bench, rain):
    scores = bench["precipitation_textures"]
    whole = scores.texture([truth[None] for truth in rain], rain)
    assert scores.shortest_px(scores.both(whole.spectra)) == pytest.approx(FINEST_PX)
    assert whole.slope == pytest.approx(whole.truth_slope) and whole.tail("p999_ratio") == pytest.approx(1)
    assert whole.together is None
    blurred = scores.texture([gaussian_filter(truth, 2.0)[None] for truth in rain], rain)
    assert (
        FINEST_PX
        < scores.shortest_px(scores.coherent(blurred.spectra))
        < scores.shortest_px(scores.sharp(blurred.spectra))
        < 64
    )
    assert blurred.slope < whole.slope - 1 and blurred.tail("p999_ratio") < 0.9
    lines = scores.verdicts("copy", whole, whole, blurred)
    assert len(lines) == 7 and {outcome for _, outcome in lines} == {"met"}
    assert {outcome for _, outcome in scores.verdicts("blurred", blurred, blurred, whole)} == {"MISS"}
    level = [outcome for _, outcome in scores.verdicts("itself", blurred, blurred, blurred)]
    assert level[-3:] == ["LEVEL"] * 3


def test_noise_of_the_right_power_is_sharp_and_not_coherent(bench, rain):
    scores = bench["precipitation_textures"]
    found = scores.texture([truth[::-1, ::-1][None] for truth in rain], rain)
    assert scores.sharp(found.spectra)[1:].mean() > 0.8 and scores.coherent(found.spectra).mean() < 0.1


def test_exchangeable_members_agree_as_much_with_each_other_as_with_the_truth(bench):
    rng = np.random.default_rng(1)
    known = rng.gamma(2.0, 1.0, (4, 64, 64)).astype(np.float32)
    drawn = [(one + rng.gamma(1.0, 0.5, (9, 64, 64))).astype(np.float32) for one in known]
    found = bench["precipitation_textures"].texture([fields[1:] for fields in drawn], [fields[0] for fields in drawn]).together
    np.testing.assert_allclose(found["between_members"], found["with_truth"], atol=0.05)
    assert float(found["spread_over_error"]) == pytest.approx(1, abs=0.05)


def test_down_to_the_first_wavelength_that_is_not_good(bench):
    shortest = bench["precipitation_textures"].shortest_px
    assert shortest(np.array([True] * 4 + [False] + [True] * 26)) == 16.0
    assert shortest(np.array([False] + [True] * 30)) == float("inf")
    many = np.array([[True, True, False], [False, True, True], [True, True, True]])
    assert bench["precipitation_textures"].resolved(many).tolist() == [2, 0, 3]


def test_it_runs_from_orbits_to_verdicts_and_goes_on_where_it_was(bench, tmp_path, monkeypatch, capsys):
    small = (
        "--orbits 2 --tests 1 --members 2 --steps 2 --reference-steps 2 --sampling-steps 1 --batch 1 --widths 4 --device cpu"
    )
    monkeypatch.setattr(sys, "argv", ["", "--out", str(tmp_path / "bench"), *small.split()])
    assert bench["precipitation_images"].main() == 1
    first = capsys.readouterr().out
    assert bench["precipitation_images"].main() == 1
    tables = [out[out.index("today's climate") :] for out in (first, capsys.readouterr().out)]
    assert tables[0] == tables[1] and "4 K warmer" in tables[0]
    assert sum(line.startswith(("met", "MISS", "LEVEL")) for line in tables[0].splitlines()) == 14
    monkeypatch.setattr(sys, "argv", ["", "--orbits", "1001"])
    with pytest.raises(SystemExit):
        bench["precipitation_images"].main()
