"""Weights from elsewhere, and back: one module a framework, none of which it needs installed.

Each ``from_...`` takes arrays in the framework's layout and returns parameters, each ``to_...``
takes parameters and returns arrays in that layout. They are plain array code: inside of a gradient
they map gradients too. `linen` goes further: it runs whole cells of `flax.linen` here, and ours
there.
"""
