"""The engine: argument checks, the loop over time and its derivative."""
