"""Forecasts of maps, days ahead: what a network is shown, how it is bounded, and the model that says how sure it is."""
