"""Publish: what a run found, as files that other tools read and one page that a person reads."""
