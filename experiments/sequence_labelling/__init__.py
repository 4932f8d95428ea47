"""A label for every step of a sequence: what a network gains by reading it from both ends."""
