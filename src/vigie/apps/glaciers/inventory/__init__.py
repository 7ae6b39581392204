"""Inventories: from a map of classes to glacier and lake polygons with the RGI 7.0 attributes."""
