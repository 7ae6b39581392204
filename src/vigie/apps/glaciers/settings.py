"""What a glaciers experiment can choose beyond what all mapping experiments share."""

from __future__ import annotations

from pydantic import Field

from vigie.story.settings import MapExperiment


class GlacierExperiment(MapExperiment):
    """An experiment that maps clean ice, debris-covered ice and water, and inventories glaciers and lakes."""

    app: str = Field(default="glaciers", description="'glaciers'")
