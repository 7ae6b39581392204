"""Constants of ice, snow, air and water that every part of the sea-ice model shares."""

from __future__ import annotations

ICE_KG_M3 = 900.0
SNOW_KG_M3 = 330.0
WATER_KG_M3 = 1026.0
AIR_KG_M3 = 1.3
GRAVITY_M_S2 = 9.81

FUSION_J_KG = 3.33e5
SUBLIMATION_J_KG = 2.834e6
VAPORISATION_J_KG = 2.501e6
AIR_J_KG_K = 1004.0
WATER_J_KG_K = 3987.0

STEFAN_BOLTZMANN = 5.67e-8
"""W m-2 K-4."""

KELVIN = 273.15
FREEZING_C = -1.8
"""Sea water of 33 g/kg freezes here."""
