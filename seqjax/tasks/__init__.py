"""Sequence tasks whose expected losses are known exactly."""

from seqjax.tasks.binary_dependency import BinaryDependency

__all__ = ["BinaryDependency"]
