"""Tests; run `pytest` from the root of the repository."""
