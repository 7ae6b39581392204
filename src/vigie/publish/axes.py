"""The look of axes in the charts and maps of a report, and of what names their curves."""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes

from vigie.publish.look import FONT, SMALL_POINTS, TEXT_POINTS, TITLE_POINTS, Theme

Place = Literal["best", "upper left", "lower right"]


def style(axes: Axes, title: str, labels: tuple[str, str], theme: Theme) -> None:
    """Give axes the look of the report: a thin grid, no frame, title and names of both axes."""
    axes.grid(color=theme.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=SMALL_POINTS, labelcolor=theme.soft, labelfontfamily=FONT, pad=4)
    for spine in axes.spines.values():
        spine.set(visible=False)
    axes.set_xlabel(labels[0], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_ylabel(labels[1], size=TEXT_POINTS, family=FONT, color=theme.soft)
    axes.set_title(title, loc="left", size=TITLE_POINTS, family=FONT, weight="bold", color=theme.ink, pad=8)


def legend(axes: Axes, theme: Theme, place: Place = "best") -> None:
    """Name the curves."""
    for text in axes.legend(frameon=False, loc=place, prop={"family": FONT, "size": SMALL_POINTS}).get_texts():
        text.set_color(theme.soft)
