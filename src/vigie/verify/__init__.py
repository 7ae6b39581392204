"""Scores that add, calibration, boundary distances, intervals, baselines and their figures."""
