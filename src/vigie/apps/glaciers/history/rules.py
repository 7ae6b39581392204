"""The numbers that decide when objects are the same and when a sample of a series is doubted."""

from __future__ import annotations

from dataclasses import dataclass

from vigie.core.errors import VigieError


@dataclass(frozen=True)
class Rules:
    """Thresholds of a history.

    Parameters
    ----------
    largest_departure: relative departure |A - median| / median from the running median that is doubted (notes M12: 0.30).
    median_samples: length of the centred running median, samples, odd.
    longest_glitch: how many samples in a row may be a glitch; a change that lasts longer is a change.
    least_overlap: common area over the smaller of two outlines from which they are taken for the same place.
    remembered: how many of an object's latest outlines make up the place where it is looked for.
    freedom: degrees of freedom nu of the Student-t noise of the trend.
    least_shown: share of an area that the map of its own date must show; with less it is inferred from other dates.

    Examples
    --------
    >>> Rules(largest_departure=0.2).longest_glitch
    2
    """

    largest_departure: float = 0.30
    median_samples: int = 5
    longest_glitch: int = 2
    least_overlap: float = 0.25
    remembered: int = 3
    freedom: float = 4.0
    least_shown: float = 0.5

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other."""
        sound = (
            0 < self.largest_departure < 1
            and self.median_samples >= 3
            and self.median_samples % 2 == 1
            and 1 <= self.longest_glitch <= self.median_samples // 2
            and 0 < self.least_overlap <= 1
            and self.remembered >= 1
            and self.freedom > 2
            and 0 <= self.least_shown <= 1
        )
        if not sound:
            raise VigieError(
                "rules of a history contradict each other",
                found=self,
                expected="0 < largest_departure < 1, median_samples odd and >= 3, 1 <= longest_glitch <= median_samples // 2, "
                "0 < least_overlap <= 1, remembered >= 1, freedom > 2, 0 <= least_shown <= 1",
            )
