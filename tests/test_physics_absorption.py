"""Air, rain and water: against the tables of the ITU, Mie's theory, Rosenkranz's lines, Klein and Swift's sea, and Fresnel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vigie.physics import absorption
from vigie.physics.surface import SALINITY_PSU, permittivity, reflectivity


@pytest.mark.parametrize(
    ("frequency_ghz", "k", "alpha"),
    [
        (10.0, (0.01217, 0.01129), (1.2571, 1.2156)),
        (20.0, (0.09164, 0.09611), (1.0568, 0.9847)),
        (40.0, (0.4431, 0.4274), (0.8673, 0.8421)),
        (100.0, (1.3671, 1.3680), (0.6815, 0.6765)),
    ],
)
def test_rain_attenuates_as_the_tables_of_the_itu_say(
    frequency_ghz: float, k: tuple[float, ...], alpha: tuple[float, ...]
) -> None:
    """Recommendation ITU-R P.838-3, table 5 (H, V); ours is the mean of both."""
    found = absorption.rain_coefficients(frequency_ghz)
    assert found[0] == pytest.approx(sum(k) / 2, rel=2e-3)
    assert found[1] == pytest.approx(np.dot(k, alpha) / sum(k), rel=2e-3)


@pytest.mark.parametrize("frequency_ghz", [10.65, 18.7, 36.64, 89.0, 166.0, 183.31])
@pytest.mark.parametrize("rain_mm_h", [2.0, 10.0])
def test_rain_absorbs_and_scatters_about_as_mie_says(frequency_ghz: float, rain_mm_h: float) -> None:
    """Spheres of water with Marshall and Palmer's sizes; the ITU's drops are flatter and of other sizes."""
    absorbs, scatters = absorption.rain(frequency_ghz, torch.tensor(rain_mm_h, dtype=torch.float64))
    expected = mie_rain(frequency_ghz, rain_mm_h)
    assert float(absorbs) == pytest.approx(expected[0], rel=0.35)
    assert float(scatters) == pytest.approx(expected[1], rel=0.4, abs=0.07 * expected[0])


@pytest.mark.parametrize("frequency_ghz", [18.7, 22.235, 23.8, 36.64, 89.0, 166.0, 176.31, 180.31, 183.31, 190.31])
@pytest.mark.parametrize(("pressure_hpa", "kelvin", "density"), [(1013.25, 288.15, 7.5), (600.0, 270.0, 2.0)])
def test_vapour_absorbs_as_in_the_lines_of_rosenkranz(
    frequency_ghz: float, pressure_hpa: float, kelvin: float, density: float
) -> None:
    ours = absorption.vapour(
        frequency_ghz, *(torch.tensor(x, dtype=torch.float64) for x in (pressure_hpa / 1013.25, kelvin, density))
    )
    assert float(ours) == pytest.approx(rosenkranz_1998(frequency_ghz, pressure_hpa, kelvin, density), rel=0.2)


@pytest.mark.parametrize(
    ("frequency_ghz", "oxygen", "vapour"),
    [
        (12.0, 0.00869826, 0.00953539),
        (20.0, 0.01188355, 0.09704730),
        (90.0, 0.03886971, 0.34197339),
        (130.0, 0.04150908, 0.75184470),
    ],
)
def test_air_absorbs_as_the_sums_over_lines_of_the_itu(frequency_ghz: float, oxygen: float, vapour: float) -> None:
    """Validation examples CG-3M3J-13 of the ITU: dB/km at 1013.25 hPa, 288.15 K, 7.5 g m-3. The fits hold to about a fifth."""
    pressure, kelvin, density = (torch.tensor(x, dtype=torch.float64) for x in (1.0, 288.15, 7.5))
    dry, moist = absorption.oxygen(frequency_ghz, pressure, kelvin), absorption.vapour(frequency_ghz, pressure, kelvin, density)
    assert float(dry) / absorption.NEPER_PER_DB == pytest.approx(oxygen, rel=0.22)
    assert float(moist) / absorption.NEPER_PER_DB == pytest.approx(vapour, rel=0.14)


def test_a_flat_surface_reflects_nothing_at_brewsters_angle_and_alike_at_nadir() -> None:
    glass = torch.tensor(4.0 + 0.0j, dtype=torch.complex128)
    assert float(reflectivity(glass, float(np.degrees(np.arctan(2.0))), "V")) == pytest.approx(0.0, abs=1e-12)
    assert [float(reflectivity(glass, 0.0, side)) for side in "VH"] == pytest.approx([1 / 9, 1 / 9])


def test_sea_water_has_the_published_permittivity() -> None:
    """Klein and Swift (1977) and Meissner and Wentz (2004) agree within some per cent at 10.65 GHz, 20 degrees, 35 psu."""
    found = complex(permittivity(10.65, torch.tensor(293.15, dtype=torch.float64), SALINITY_PSU))
    static, seconds, conductivity = 72.47, 9.09e-12, 4.79  # Klein and Swift's equations 13-18, one Debye term
    relaxing = (static - 4.9) / (1 - 2j * np.pi * 10.65e9 * seconds)
    expected = 4.9 + relaxing + 1j * conductivity / (2 * np.pi * 8.854e-12 * 10.65e9)
    assert found.real == pytest.approx(expected.real, rel=0.05)
    assert found.imag == pytest.approx(expected.imag, rel=0.05)


def mie_rain(frequency_ghz: float, rain_mm_h: float) -> tuple[float, float]:
    """Absorption and backward scattering (neper km-1) of Marshall and Palmer's drops (Bohren and Huffman 1983)."""
    index = np.sqrt(complex(permittivity(frequency_ghz, torch.tensor(283.15, dtype=torch.float64), 0.0)))
    diameter = np.linspace(0.1, 7.0, 100)
    number = 8000.0 * np.exp(-4.1 * rain_mm_h**-0.21 * diameter) * (diameter[1] - diameter[0])
    area = np.pi / 4 * diameter**2 * 1e-3 * number
    sphere = np.array([mie(index, np.pi * d * frequency_ghz / 299.792458) for d in diameter])
    absorbed = area * (sphere[:, 0] - sphere[:, 1])
    return float(absorbed.sum()), float((area * sphere[:, 1] * (1 - sphere[:, 2]) / 2).sum())


def mie(index: complex, x: float) -> tuple[float, float, float]:
    """Efficiencies of extinction and scattering, and asymmetry, of a sphere of size x."""
    count = int(x + 4 * x ** (1 / 3) + 2)
    derivative = np.zeros(count + 20, dtype=complex)
    for n in range(len(derivative) - 1, 0, -1):
        derivative[n - 1] = n / (index * x) - 1 / (derivative[n] + n / (index * x))
    psi, chi = [np.cos(x), np.sin(x)], [-np.sin(x), np.cos(x)]
    a, b = np.zeros(count, dtype=complex), np.zeros(count, dtype=complex)
    for n in range(1, count + 1):
        psi.append((2 * n - 1) * psi[-1] / x - psi[-2])
        chi.append((2 * n - 1) * chi[-1] / x - chi[-2])
        xi, before = psi[-1] - 1j * chi[-1], psi[-2] - 1j * chi[-2]
        electric, magnetic = derivative[n] / index + n / x, derivative[n] * index + n / x
        a[n - 1] = (electric * psi[-1] - psi[-2]) / (electric * xi - before)
        b[n - 1] = (magnetic * psi[-1] - psi[-2]) / (magnetic * xi - before)
    n = np.arange(1, count + 1)
    extinction = 2 / x**2 * ((2 * n + 1) * (a + b).real).sum()
    scattering = 2 / x**2 * ((2 * n + 1) * (abs(a) ** 2 + abs(b) ** 2)).sum()
    neighbours = (n * (n + 2) / (n + 1))[:-1] * (a[:-1] * a[1:].conj() + b[:-1] * b[1:].conj()).real
    asymmetry = 4 / x**2 * (neighbours.sum() + ((2 * n + 1) / (n * (n + 1)) * (a * b.conj()).real).sum()) / scattering
    return extinction, scattering, asymmetry


ROSENKRANZ_LINES = (  # centre GHz, strength, exponent, width, its exponent, width by vapour, its exponent
    (22.2351, 0.1310e-13, 2.144, 0.00281, 0.69, 0.01349, 0.61),
    (183.3101, 0.2273e-11, 0.668, 0.00281, 0.64, 0.01491, 0.85),
    (321.2256, 0.8036e-13, 6.179, 0.0023, 0.67, 0.0108, 0.54),
    (325.1529, 0.2694e-11, 1.541, 0.00278, 0.68, 0.0135, 0.74),
    (380.1974, 0.2438e-10, 1.048, 0.00287, 0.54, 0.01541, 0.89),
    (448.0011, 0.2562e-10, 1.405, 0.00263, 0.66, 0.01275, 0.67),
    (556.9360, 0.1531e-08, 0.159, 0.00321, 0.69, 0.01320, 1.0),
    (752.0332, 0.1011e-08, 0.396, 0.00306, 0.68, 0.01253, 0.84),
)


def rosenkranz_1998(frequency_ghz: float, pressure_hpa: float, kelvin: float, density_g_m3: float) -> float:
    """Absorption of water vapour (neper km-1) of Rosenkranz (1998, Radio Science 33, 919): strong lines and continuum."""
    vapour_hpa, warm = density_g_m3 * kelvin / 217.0, 300.0 / kelvin
    dry_hpa, total = pressure_hpa - vapour_hpa, 0.0
    for centre, strength, decay, width, power, own, own_power in ROSENKRANZ_LINES:
        broad = width * dry_hpa * warm**power + own * vapour_hpa * warm**own_power
        for aside in (frequency_ghz - centre, frequency_ghz + centre):
            if abs(aside) < 750:
                shape = broad / (aside**2 + broad**2) - broad / (562500 + broad**2)
                total += strength * warm**2.5 * np.exp(decay * (1 - warm)) * shape * (frequency_ghz / centre) ** 2
    continuum = (5.43e-10 * dry_hpa * warm**3 + 1.8e-8 * vapour_hpa * warm**7.5) * vapour_hpa * frequency_ghz**2
    return float(0.3183e-4 * 3.335e16 * density_g_m3 * total + continuum)
