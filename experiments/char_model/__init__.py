"""A character model: train it, score it, and let it write."""
