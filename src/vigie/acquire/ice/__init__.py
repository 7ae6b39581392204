"""Readers of sea-ice data: each gives an `xarray.Dataset` in the names of `core/vocabulary.toml`."""
