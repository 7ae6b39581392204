"""How sea and land emit microwaves: permittivity of water, Fresnel's equations, roughening by wind.

Sources
-------
Meissner and Wentz (2004), The complex dielectric constant of pure and sea water from microwave satellite observations, IEEE
TGRS 42, 1836: equations 6-8, 11 and 17, tables III and VI (their conductivity is Stogryn's).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SALINITY_PSU = 35.0
"""Of sea water; pure water has 0."""

LAND_EMISSIVITY = 0.94
"""Of land in both polarisations and at all frequencies: vegetated ground has 0.90 to 0.97 (Prigent et al. 2006, JGR 111)."""

WIND_V_PER_M_S = 0.0013
"""What a metre per second of wind adds to the vertical emissivity of the sea near 53 degrees, foam included."""


def wind_h_per_m_s(frequency_ghz: float) -> float:
    """Give what a metre per second of wind adds to the horizontal emissivity of the sea near 53 degrees.

    A line up to 89 GHz and a constant above, of the size that GMI shows over rainless seas (0.9 K at 10.65 GHz and 1.2 K at
    36.64 GHz for a metre per second) and that Wentz (1997, JGR 102, 8703) found.

    Examples
    --------
    >>> round(wind_h_per_m_s(10.65), 4), round(wind_h_per_m_s(89.0), 4)
    (0.0037, 0.0092)
    """
    return 0.003 + 7e-5 * min(frequency_ghz, 89.0)


def permittivity(frequency_ghz: float, temperature_k: Tensor, salinity_psu: float) -> Tensor:
    """Compute the complex relative permittivity of water, positive where it absorbs (double Debye, Meissner and Wentz 2004).

    The temperature is kept within -20 to 40 degrees Celsius, where the fit holds. Salinity is 0 (clouds) or that of the sea:
    Stogryn's conductivity is written for 35 psu and scaled in proportion.

    Examples
    --------
    >>> water = complex(permittivity(10.65, torch.tensor(293.15), 0.0))
    >>> round(water.real, 1), round(water.imag, 1)
    (58.8, 33.7)
    """
    t, s = (temperature_k - 273.15).clamp(-20.0, 40.0), salinity_psu
    static = (3.70886e4 - 82.168 * t) / (421.854 + t) * torch.exp(-3.56417e-3 * s + 4.74868e-6 * s**2 + 1.15574e-5 * t * s)
    middle = (5.7230 + 2.2379e-2 * t - 7.1237e-4 * t**2) * torch.exp(-6.28908e-3 * s + 1.76032e-4 * s**2 - 9.22144e-5 * t * s)
    limit = (3.6143 + 2.8841e-2 * t) * (1 + s * (-2.04265e-3 + 1.57883e-4 * t))
    first = (45 + t) / (5.0478 - 7.0315e-2 * t + 6.0059e-4 * t**2) * (1 + s * (2.39357e-3 - 3.13530e-5 * t + 2.52477e-7 * t**2))
    second = (45 + t) / (0.13652 + 1.4825e-3 * t + 2.4166e-4 * t**2) * (1 + s * (-1.99723e-2 + 1.81176e-4 * t))
    conductivity = (2.903602 + 8.607e-2 * t + 4.738817e-4 * t**2 - 2.991e-6 * t**3 + 4.3047e-9 * t**4) * s / SALINITY_PSU
    relaxing = (static - middle) / (1 - 1j * frequency_ghz / first) + (middle - limit) / (1 - 1j * frequency_ghz / second)
    return relaxing + limit + 1j * 17.97510 * conductivity / frequency_ghz


def reflectivity(permittivity: Tensor, incidence_deg: float, polarisation: str) -> Tensor:
    """Compute what a flat surface reflects, 0 to 1 (Fresnel), "V" or "H".

    Examples
    --------
    >>> [round(float(reflectivity(torch.tensor(81.0 + 0.0j), 0.0, side)), 3) for side in "VH"]
    [0.64, 0.64]
    """
    cosine, sine = math.cos(math.radians(incidence_deg)), math.sin(math.radians(incidence_deg))
    root = torch.sqrt(permittivity - sine**2)
    first, second = (permittivity * cosine, root) if polarisation == "V" else (cosine, root)
    amplitude = (first - second) / (first + second)
    return amplitude.real**2 + amplitude.imag**2


def emissivity(
    frequency_ghz: float, incidence_deg: float, polarisation: str, skin_k: Tensor, wind_m_s: Tensor, land_fraction: Tensor
) -> Tensor:
    """Compute the emissivity of a surface that is partly land, 0 to 1; wind roughens the sea linearly."""
    roughening = WIND_V_PER_M_S if polarisation == "V" else wind_h_per_m_s(frequency_ghz)
    water = permittivity(frequency_ghz, skin_k.clamp(min=271.0), SALINITY_PSU)
    sea = (1 - reflectivity(water, incidence_deg, polarisation) + roughening * wind_m_s).clamp(max=1.0)
    return land_fraction * LAND_EMISSIVITY + (1 - land_fraction) * sea
