"""What absorbs and scatters microwaves in the air: oxygen, water vapour, cloud droplets, rain and ice.

Each function gives specific absorption in nepers per kilometre (or square metres per kilogram) at one frequency.

Sources
-------
Recommendation ITU-R P.676-10 (2013), annex 2: oxygen and water vapour, fits of line-by-line sums to 350 GHz.
Recommendation ITU-R P.838-3 (2005): rain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.physics.surface import permittivity

NEPER_PER_DB = math.log(10.0) / 10.0

DRIZZLE_MM_H = 0.01
"""Below this rate powers of rain run straight into zero, so that their slope there is finite."""

VAPOUR_LINES = (  # strength, slope of the exponent, centre (GHz), width, centre of the form factor (0: none)
    (3.98, 2.23, 22.235, 9.42, 22.0),
    (11.96, 0.70, 183.31, 11.14, 0.0),
    (0.081, 6.44, 321.226, 6.29, 0.0),
    (3.66, 1.60, 325.153, 9.22, 0.0),
    (25.37, 1.09, 380.0, 0.0, 0.0),
    (17.4, 1.46, 448.0, 0.0, 0.0),
    (844.6, 0.17, 557.0, 0.0, 557.0),
    (290.0, 0.41, 752.0, 0.0, 752.0),
)
"""Lines of water vapour, P.676-10 annex 2, equation 23."""

RAIN_K_H = (
    (-5.33980, -0.10008, 1.13098),
    (-0.35351, 1.26970, 0.45400),
    (-0.23789, 0.86036, 0.15354),
    (-0.94158, 0.64552, 0.16817),
)
RAIN_K_V = (
    (-3.80595, 0.56934, 0.81061),
    (-3.44965, -0.22911, 0.51059),
    (-0.39902, 0.73042, 0.11899),
    (0.50167, 1.07319, 0.27195),
)
RAIN_A_H = (
    (-0.14318, 1.82442, -0.55187),
    (0.29591, 0.77564, 0.19822),
    (0.32177, 0.63773, 0.13164),
    (-5.37610, -0.96230, 1.47828),
    (16.1721, -3.29980, 3.43990),
)
RAIN_A_V = (
    (-0.07771, 2.33840, -0.76284),
    (0.56727, 0.95545, 0.54039),
    (-0.20238, 1.14520, 0.26809),
    (-48.2991, 0.791669, 0.116226),
    (48.5833, 0.791459, 0.116479),
)
"""P.838-3, tables 1-4: bells over log10 of the frequency, (height, centre, width)."""


def check_frequency(frequency_ghz: float) -> None:
    """Refuse frequencies for which the fits of oxygen do not hold.

    Raises
    ------
    VigieError: below 1 GHz, between 54 and 66 GHz (the oxygen band itself), or above 350 GHz.
    """
    if not (1.0 <= frequency_ghz <= 54.0 or 66.0 <= frequency_ghz <= 350.0):
        raise VigieError(
            "the forward model does not know this frequency",
            found=f"{frequency_ghz:g} GHz",
            expected="1 to 54 GHz or 66 to 350 GHz: the oxygen band between is left out",
            do="leave the channel out",
        )


def oxygen(frequency_ghz: float, pressure: Tensor, temperature_k: Tensor) -> Tensor:
    """Absorption of dry air (neper km-1) at a pressure in units of 1013.25 hPa (P.676-10 annex 2, equation 22).

    Examples
    --------
    >>> ground = oxygen(36.64, torch.tensor(1.0), torch.tensor(288.15))
    >>> round(float(ground) / NEPER_PER_DB, 3)  # dB per kilometre
    0.037
    """
    check_frequency(frequency_ghz)
    f, p, t = frequency_ghz, pressure, 288.0 / temperature_k

    def xi(a: float, b: float, c: float, d: float) -> Tensor:
        return p**a * t**b * torch.exp(c * (1 - p) + d * (1 - t))

    band = 0.283 / ((f - 118.75) ** 2 + 2.91 * p**2 * t**1.6)
    if f <= 54.0:
        wing = (54.0 - f) ** (1.16 * xi(0.0717, -1.8132, 0.0156, -1.6515)) + 0.83 * xi(0.5146, -4.6368, -0.1921, -5.7416)
        form = 7.2 * t**2.8 / (f**2 + 0.34 * p**2 * t**1.6) + 0.62 * xi(0.3414, -6.5851, 0.2130, -8.5854) / wing
    elif f <= 120.0:
        wing = (f - 66.0) ** (1.4346 * xi(-0.0112, 0.0092, -0.1033, -0.0009)) + 1.15 * xi(0.2705, -2.7192, -0.3016, -4.1033)
        slope = 1 - 0.0163 * xi(-0.1833, 6.5589, -0.2402, 6.1310) * (f - 66.0)
        form = 3.02e-4 * t**3.5 + band * t**3.8 + 0.502 * xi(0.2445, -5.9191, 0.0422, -8.0719) * slope / wing
    else:
        form = (3.02e-4 / (1 + 1.9e-5 * f**1.5) + band * t**0.3) * t**3.5
    return form * f**2 * p**2 * 1e-3 * NEPER_PER_DB


def vapour(frequency_ghz: float, pressure: Tensor, temperature_k: Tensor, density_g_m3: Tensor) -> Tensor:
    """Absorption of water vapour (neper km-1) at a density in g m-3 (P.676-10 annex 2, equation 23).

    Examples
    --------
    >>> ground = vapour(22.235, torch.tensor(1.0), torch.tensor(288.15), torch.tensor(7.5))
    >>> round(float(ground) / NEPER_PER_DB, 2)  # dB per kilometre
    0.18
    """
    check_frequency(frequency_ghz)
    f, p, t, rho = frequency_ghz, pressure, 288.0 / temperature_k, density_g_m3
    width = 0.955 * p * t**0.68 + 0.006 * rho
    total = (
        8.3328e4 * (0.735 * p * t**0.5 + 0.0353 * t**4 * rho) * torch.exp(0.99 * (1 - t)) / (f - 1780.0) ** 2 * _form(f, 1780.0)
    )
    for strength, slope, centre, broad, form in VAPOUR_LINES:
        total = total + strength * width * torch.exp(slope * (1 - t)) / ((f - centre) ** 2 + broad * width**2) * _form(f, form)
    return total * f**2 * t**2.5 * rho * 1e-4 * NEPER_PER_DB


def liquid(frequency_ghz: float, temperature_k: Tensor) -> Tensor:
    """Absorption of cloud droplets (m2 kg-1), much smaller than the wave: Rayleigh, 6 pi / (wavelength density) Im K.

    Examples
    --------
    >>> round(float(liquid(36.64, torch.tensor(283.15))), 2)
    0.2
    """
    water = permittivity(frequency_ghz, temperature_k, 0.0)
    wavelength_m = 0.299792458 / frequency_ghz
    return 6 * math.pi / wavelength_m * ((water - 1) / (water + 2)).imag * 1e-3


def rain_coefficients(frequency_ghz: float) -> tuple[float, float]:
    """Give k and alpha of specific attenuation k R^alpha (dB km-1, R in mm h-1), the mean of V and H (P.838-3).

    Examples
    --------
    >>> [round(one, 4) for one in rain_coefficients(10.0)]
    [0.0117, 1.2371]
    """
    x = math.log10(frequency_ghz)
    k_h, k_v = 10 ** (_bells(x, RAIN_K_H) - 0.18961 * x + 0.71147), 10 ** (_bells(x, RAIN_K_V) - 0.16398 * x + 0.63297)
    a_h, a_v = _bells(x, RAIN_A_H) + 0.67849 * x - 1.95537, _bells(x, RAIN_A_V) - 0.053739 * x + 0.83433
    return (k_h + k_v) / 2, (k_h * a_h + k_v * a_v) / (k_h + k_v)


def rain(frequency_ghz: float, rain_mm_h: Tensor) -> tuple[Tensor, Tensor]:
    """Split the extinction of rain into what is absorbed and what is scattered backwards (neper km-1).

    Extinction is that of P.838-3. The albedo 0.5 f^2 / (f^2 + 28^2) and the asymmetry 0.7 f^2 / (f^2 + 130^2) stand for the Mie
    theory of exponential drop sizes (Marshall and Palmer 1948), to which the tests hold them.
    """
    k, alpha = rain_coefficients(frequency_ghz)
    extinction = k * NEPER_PER_DB * straightened_power(rain_mm_h, alpha)
    albedo = 0.5 * frequency_ghz**2 / (frequency_ghz**2 + 28.0**2)
    asymmetry = 0.7 * frequency_ghz**2 / (frequency_ghz**2 + 130.0**2)
    return extinction * (1 - albedo), extinction * albedo * (1 - asymmetry) / 2


def ice(frequency_ghz: float, polarisation: str) -> tuple[float, float]:
    """Give what precipitating ice absorbs and what it scatters backwards (m2 kg-1).

    Backscatter grows as f^2.5, between the f^4 of particles that are small against the wave and the f^1 of large ones. Size
    and power are tuned: of a small grid they leave the least misfit (4.1 K) to GMI's mean brightness temperatures at 89 GHz and
    above in classes of radar rain over the sea, on days 1-14 of the sample tables (5.0 K on days 15-21, which the tests use).
    Particles that lie flat scatter H more than V (Gong and Wu 2017, ACP 17, 2741): here a tenth above and below the mean.

    Examples
    --------
    >>> [round(ice(f, "H")[1], 4) for f in (18.7, 36.64, 89.0, 166.0)]
    [0.001, 0.0054, 0.0495, 0.2352]
    """
    x = frequency_ghz / 89.0
    lying = 1.1 if polarisation == "H" else 0.9
    return 0.02 * x, lying * 0.045 * x**2.5


def straightened_power(rain_mm_h: Tensor, exponent: float) -> Tensor:
    """Raise a rain rate to a power, with a finite slope at zero: (R + r)^a - r^a with r = DRIZZLE_MM_H."""
    start: float = DRIZZLE_MM_H**exponent
    return torch.pow(rain_mm_h + DRIZZLE_MM_H, exponent) - start


def _form(frequency_ghz: float, centre: float) -> float:
    return 1 + ((frequency_ghz - centre) / (frequency_ghz + centre)) ** 2 if centre else 1.0


def _bells(x: float, bells: Sequence[tuple[float, float, float]]) -> float:
    return sum(height * math.exp(-(((x - centre) / width) ** 2)) for height, centre, width in bells)
