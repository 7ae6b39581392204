"""Reference methods that glacier mappers would otherwise use, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vigie.core.legend import LabelLegend
from vigie.verify.baselines import Baseline, Trees, gradient_boosting, random_forest
from vigie.verify.features import every_band_local, film_local, four_bands, four_bands_local, pixel_and_context, standardised
from vigie.verify.thresholds import IndexThreshold, MedianClean, OwnOtsu, TrainOtsu, ndsi, ndwi, pan, red_swir_ratio

BASELINES: dict[str, Callable[[LabelLegend], Baseline]] = {
    "random-forest": lambda labels: Trees(every_band_local, random_forest, labels),
    "gradient-boosting": lambda labels: Trees(every_band_local, gradient_boosting, labels),
    "random-forest-debris": lambda labels: Trees(pixel_and_context, random_forest, labels),
    "gradient-boosting-debris": lambda labels: Trees(pixel_and_context, gradient_boosting, labels),
    "random-forest-4-bands": lambda labels: Trees(four_bands_local, partial(random_forest, 200), labels, pixels=60_000),
    "random-forest-4-bands-alone": lambda labels: Trees(four_bands, partial(random_forest, 200), labels, pixels=60_000),
    "random-forest-film-scaled": lambda labels: Trees(
        partial(film_local, scale=standardised), partial(random_forest, 60), labels, pixels=60_000
    ),
    "random-forest-film": lambda labels: Trees(film_local, partial(random_forest, 200), labels, pixels=60_000),
    "otsu-own": lambda labels: OwnOtsu(),
    "otsu-train": lambda labels: TrainOtsu(),
    "otsu-cleaned": lambda labels: TrainOtsu(pan, MedianClean(11, 2000)),
    "ndsi": lambda labels: IndexThreshold(ndsi, 0.4),
    "band-ratio": lambda labels: IndexThreshold(red_swir_ratio, 2.0),
    "ndwi": lambda labels: IndexThreshold(ndwi, 0.3),
}
"""Trees learn from what the model learnt from, sensor by sensor. Thresholds are the literature's (NDSI: Hall 1995; ratio:
Paul 2002); they fit labels of two codes. What needs bands that a scene lacks is refused."""

TITLES = {
    "random-forest": "random forest",
    "gradient-boosting": "gradient boosting",
    "random-forest-debris": "random forest, nine bands",
    "gradient-boosting-debris": "gradient boosting, nine bands",
    "random-forest-4-bands": "random forest, four bands with surroundings",
    "random-forest-4-bands-alone": "random forest, four bands of the pixel alone",
    "random-forest-film-scaled": "random forest, film scaled by scene",
    "random-forest-film": "random forest, film as it is",
    "otsu-own": "Otsu threshold of the image itself",
    "otsu-train": "Otsu threshold of the training images",
    "otsu-cleaned": "Otsu threshold of the training images, cleaned",
    "ndsi": "NDSI above 0.4",
    "band-ratio": "red / SWIR above 2",
    "ndwi": "NDWI above 0.3",
}
"""What readers call them."""
