"""Data of any length: records on disk, batches of them, and the place in them."""
