"""Class legends, and the 0/1 matrices that say which leaf classes a coarser label stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vigie.core.errors import VigieError, nearest


@dataclass(frozen=True)
class LegendClass:
    """One class: the code in the raster, its name, and its colour as '#rrggbb'."""

    code: int
    name: str
    color: str


@dataclass(frozen=True)
class Legend:
    """Leaf classes of a map, in the order of the network's channels; `unknown` marks pixels that never count.

    Examples
    --------
    >>> ice = Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "ice", "#3fa9f5")))
    >>> ice.names
    ('land', 'ice')
    """

    name: str
    classes: tuple[LegendClass, ...]
    unknown: int = 255

    def __post_init__(self) -> None:
        codes = [c.code for c in self.classes]
        if len(set(codes)) != len(codes) or len({c.name for c in self.classes}) != len(codes) or self.unknown in codes:
            raise VigieError(
                f"legend '{self.name}' is ambiguous",
                found=f"codes {codes}, unknown {self.unknown}",
                expected="codes and names used once, and a code of its own for 'unknown'",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in channel order."""
        return tuple(c.name for c in self.classes)

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Raster codes in channel order."""
        return np.array([c.code for c in self.classes], dtype=np.uint8)

    @property
    def attributes(self) -> dict[str, object]:
        """CF attributes of a variable that holds the codes.

        Examples
        --------
        >>> Legend("ice", (LegendClass(0, "land", "#8c8c8c"), LegendClass(1, "clean ice", "#3fa9f5"))).attributes
        {'flag_values': array([0, 1], dtype=uint8), 'flag_meanings': 'land clean_ice', 'flag_colors': '#8c8c8c #3fa9f5'}
        """
        return {
            "flag_values": self.codes,
            "flag_meanings": " ".join(name.replace(" ", "_") for name in self.names),
            "flag_colors": " ".join(leaf.color for leaf in self.classes),
        }

    def channel(self, name: str) -> int:
        """Find the channel of a class by its name."""
        if name not in self.names:
            raise VigieError(
                f"legend '{self.name}' has no class '{name}'",
                expected=", ".join(self.names),
                do=nearest(name, self.names),
            )
        return self.names.index(name)


@dataclass(frozen=True)
class LabelLegend:
    """What the codes of a label raster mean: each stands for one or several leaf classes.

    `groups` maps a code to (name, leaf names); codes outside it and `unknown` never count as truth.

    Examples
    --------
    >>> leaves = Legend("g", (LegendClass(0, "land", "#888888"), LegendClass(1, "clean ice", "#00aaff"),
    ...                       LegendClass(2, "debris-covered ice", "#aa5500")))
    >>> labels = LabelLegend("glacier or not", {0: ("not glacier", ("land",)),
    ...                                         1: ("glacier", ("clean ice", "debris-covered ice"))})
    >>> labels.matrix(leaves)
    array([[1., 0., 0.],
           [0., 1., 1.]], dtype=float32)
    """

    name: str
    groups: Mapping[int, tuple[str, tuple[str, ...]]]
    unknown: tuple[int, ...] = field(default=(255,))

    def __post_init__(self) -> None:
        """Refuse names used twice, and codes that are both known and unknown."""
        both, names = sorted(set(self.groups) & set(self.unknown)), list(self.names)
        if both or len(set(names)) != len(names):
            raise VigieError(
                f"label legend '{self.name}' is ambiguous",
                found=f"names {names}, codes {sorted(self.groups)}, unknown {list(self.unknown)}",
                expected="names used once, and no code that is also unknown",
            )

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Codes that count, in ascending order: the rows of the matrix."""
        return np.array(sorted(self.groups), dtype=np.uint8)

    @property
    def names(self) -> tuple[str, ...]:
        """Group names in the order of `codes`."""
        return tuple(self.groups[code][0] for code in sorted(self.groups))

    def matrix(self, leaves: Legend) -> NDArray[np.float32]:
        """Build the 0/1 matrix (code, leaf): the probability of a coarse label is the sum of its leaves'."""
        matrix = np.zeros((len(self.groups), len(leaves.classes)), dtype=np.float32)
        for row, code in enumerate(sorted(self.groups)):
            for leaf in self.groups[code][1]:
                matrix[row, leaves.channel(leaf)] = 1.0
        if (matrix.sum(axis=0) > 1).any():
            raise VigieError(
                f"label legend '{self.name}' uses a leaf twice",
                found={code: group[1] for code, group in self.groups.items()},
                expected="each leaf class in at most one label",
            )
        empty = [self.names[row] for row in np.flatnonzero(matrix.sum(axis=1) == 0)]
        if empty:
            raise VigieError(
                f"label legend '{self.name}' has labels without any leaf class",
                found=empty,
                expected="at least one leaf class a label",
                do="list their codes as unknown",
            )
        return matrix

    def rows(self, truth: NDArray[np.uint8], called: str = "labels") -> NDArray[np.int16]:
        """Turn raster codes into rows of `matrix` (-1 where unknown); a code nobody declared is refused, as `called`."""
        lookup = np.full(256, -2, dtype=np.int16)
        lookup[list(self.unknown)] = -1
        lookup[self.codes] = np.arange(len(self.groups))
        rows = lookup[truth]
        if (rows == -2).any():
            strange = sorted(set(np.unique(truth).tolist()) - set(self.groups) - set(self.unknown))
            raise VigieError(
                f"{called} hold codes that legend '{self.name}' does not know",
                found=strange,
                expected=f"{sorted(self.groups)} or {list(self.unknown)} for unknown",
                do="add the codes to the legend, or to its 'unknown' list",
            )
        return rows
