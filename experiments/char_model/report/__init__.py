"""A page about a trained character model: its curves, samples, surprises, units and calibration."""
