"""History: class maps that agree in time, objects followed through the years, series with glitches flagged (notes M12)."""

from vigie.apps.glaciers.history.build import History, build_history
from vigie.apps.glaciers.history.classes import Chain, ClassesJob, chain, consistent_classes, stream_classes
from vigie.apps.glaciers.history.rules import Rules

__all__ = ["Chain", "ClassesJob", "History", "Rules", "build_history", "chain", "consistent_classes", "stream_classes"]
