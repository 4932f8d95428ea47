"""Conversion of weights from and to other frameworks, which need not be installed.

There is one module for each framework. Each ``from_...`` function converts arrays in the layout of
the framework to parameters of a cell, and each ``to_...`` function converts parameters back. Both
are differentiable array functions, so they also convert gradients. `seqjax.interop.linen` goes
further: it runs cells of `flax.linen` in seqjax, and cells of seqjax in `flax.linen`.
"""
