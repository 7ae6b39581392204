"""Maps of swaths: orbits across the date line, lost positions, tables of points."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh

from vigie.core.vocabulary import named
from vigie.publish.swath_maps import SwathPanel, swath_chart, unrolled
from vigie.synthetic.orbit import Granule, ground


def orbit(scans: int, node: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    latitude, longitude = ground(Granule("a", 0, "2020-01-01T00:00:00", 0.0, node, scans, 21))
    return latitude[1::3], longitude[1::3]


def panel(values: np.ndarray) -> SwathPanel:
    return SwathPanel("rain", named("rainfall_rate"), values)


def test_longitudes_go_on_around_the_whole_earth():
    _, longitude = orbit(2963)
    found = unrolled(longitude)
    assert np.abs(np.diff(found, axis=0)).max() < 5 and np.abs(np.diff(found, axis=1)).max() < 5
    np.testing.assert_allclose((found + 180) % 360 - 180, longitude, atol=1e-9)


def test_no_cell_of_an_orbit_is_drawn_across_the_map():
    latitude, longitude = orbit(2963)
    figure = swath_chart(longitude, latitude, [panel(np.ones_like(latitude))])
    axes = figure.axes[0]
    meshes = [one for one in axes.collections if isinstance(one, QuadMesh)]
    assert len(meshes) >= 2, "an orbit is cut where it leaves the map"
    for mesh in meshes:
        assert np.abs(np.diff(mesh.get_coordinates()[..., 0], axis=1)).max() < 5
    covered = np.concatenate([mesh.get_coordinates()[..., 0].ravel() for mesh in meshes])
    assert covered.min() < -179 and covered.max() > 179
    assert axes.get_xlim() == (-180, 180)


def test_long_orbits_stand_below_each_other_and_short_ones_side_by_side():
    for scans, below in ((2963, True), (100, False)):
        latitude, longitude = orbit(scans)
        first, _, second, _ = swath_chart(longitude, latitude, [panel(latitude), panel(latitude)]).axes
        assert bool(first.get_position().y0 > second.get_position().y1) is below


def test_a_short_orbit_at_the_date_line_is_one_piece_with_labels_of_the_earth():
    latitude, longitude = orbit(60, node=179.0)
    axes = swath_chart(longitude, latitude, [panel(latitude)]).axes[0]
    assert longitude.max() > 170 and longitude.min() < -170
    assert np.ptp(axes.get_xlim()) < 20
    assert axes.xaxis.get_major_formatter()(184, 0) == "-176"


def test_scans_without_positions_are_left_out():
    latitude, longitude = orbit(50)
    latitude[10], longitude[10, 3] = np.nan, np.nan
    mesh = swath_chart(longitude, latitude, [panel(np.ones_like(latitude))]).axes[0].collections[0]
    assert mesh.get_array().shape == (49, 21)
    assert np.isfinite(mesh.get_coordinates()).all()


@pytest.mark.parametrize("spread", [5.0, 300.0])
def test_tables_are_points(spread):
    random = np.random.default_rng(0)
    longitude, latitude = random.uniform(-spread / 2, spread / 2, (40, 1)), random.uniform(-30, 30, (40, 1))
    values = random.random((40, 1))
    values[:5] = np.nan
    axes = swath_chart(longitude, latitude, [panel(values)]).axes[0]
    (points,) = [one for one in axes.collections if isinstance(one, PathCollection)]
    assert len(points.get_offsets()) == 35
