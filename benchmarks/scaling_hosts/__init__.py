"""The cost of a training step that several processes share, here and on many accelerators."""
