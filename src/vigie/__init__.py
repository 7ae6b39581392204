"""vigie: heterogeneous Earth observations become maps and forecasts that say how sure they are."""

__version__ = "0.1.0"
