"""Measurements behind claims about speed: ``python -m benchmarks.NAME``."""
