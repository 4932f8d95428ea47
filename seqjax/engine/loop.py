"""The loop over time, the only place that applies masks, resets, directions and methods."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.engine.cudnn import run_cudnn
from seqjax.engine.derivative import Step, masked_step, scan_with_derivative
from seqjax.engine.layout import lay_out_like_next
from seqjax.operations.masking import select, zero_outside
from seqjax.types import (
    Array,
    Cell,
    ChunkwiseCell,
    LinearCell,
    Loop,
    Noise,
    Params,
    Projected,
    PyTree,
    State,
)
from seqjax.wrappers.reset import ResetInputs, reset

Method = Literal["auto", "scan", "static", "associative", "cudnn"]


@dataclasses.dataclass(frozen=True)
class SequenceLoop(Loop):
    """A loop over the time steps of a batch of sequences.

    Args:
      method: how to run the steps, see `seqjax.unroll`.
      mask: ``bool[T, B]``, True at valid steps; defaults to all steps.
      lengths: ``int[B]`` if the mask comes from lengths.
      reverse: run from the last step to the first.
      remat: the number of steps between checkpoints of the state; defaults to no checkpoints.
      starts: ``bool[T, B]``, True where the state is reset before the step; defaults to no step.
    """

    method: Method
    mask: Array | None = None
    lengths: Array | None = None
    reverse: bool = False
    remat: int | None = None
    starts: Array | None = None

    @property
    def resets(self) -> bool:
        """Whether the loop resets the state before some of the steps."""
        return self.starts is not None

    def reversed(self, xs: PyTree) -> tuple["SequenceLoop", PyTree]:
        """The loop in the opposite direction, and ``xs`` with its resets moved to match.

        Padding needs no gather, since the state does not change there. A reset before the first
        step of a sequence becomes a reset before the last step of the previous sequence. A reset
        before the first step of a row becomes one before its last step.
        """

        def move(starts: Array) -> Array:
            mask = jnp.ones_like(starts) if self.mask is None else self.mask
            if self.reverse:
                return _starts_of_the_next(starts[::-1], mask[::-1])[::-1]
            return _starts_of_the_next(starts, mask)

        def visit(node: PyTree) -> PyTree:
            if isinstance(node, ResetInputs):
                return ResetInputs(move(node.starts), turn(node.inputs))
            return node

        def turn(xs: PyTree) -> PyTree:
            return jax.tree.map(visit, xs, is_leaf=lambda node: isinstance(node, ResetInputs))

        starts = None if self.starts is None else move(self.starts)
        return dataclasses.replace(self, reverse=not self.reverse, starts=starts), turn(xs)

    def last(self, values: PyTree, before: PyTree) -> PyTree:
        """The values of the last valid step of each row, or ``before`` where no step is valid."""
        if self.mask is None:
            return jax.tree.map(lambda a: a[0 if self.reverse else -1], values)
        steps = jnp.arange(self.mask.shape[0], dtype=jnp.int32)
        steps = steps.reshape(-1, *(1,) * (self.mask.ndim - 1))
        if self.reverse:
            at = jnp.min(jnp.where(self.mask, steps, self.mask.shape[0] - 1), axis=0, keepdims=True)
        else:
            at = jnp.max(jnp.where(self.mask, steps, 0), axis=0, keepdims=True)

        def one(a: Array) -> Array:
            index = at.reshape(at.shape + (1,) * (a.ndim - at.ndim))
            return jnp.take_along_axis(a, index, axis=0)[0]

        return select(self.mask.any(0), jax.tree.map(one, values), before)

    def resetting(self, starts: Array) -> "SequenceLoop":
        """The loop that also resets the state before the steps where ``starts`` is True."""
        starts = starts if self.starts is None else starts | self.starts
        return dataclasses.replace(self, starts=starts)

    def run(
        self, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run ``cell`` over the steps of ``xs``."""
        if self.starts is not None:
            cell, xs = reset(cell), ResetInputs(self.starts, xs)
        steps = self.mask, xs, noise
        num_steps = jax.tree.leaves(steps)[0].shape[0]

        def chunk(state: State, steps: tuple[Array | None, PyTree, Noise]) -> tuple[State, PyTree]:
            mask, xs, noise = steps
            if self.method == "cudnn":
                # the lengths within a chunk follow from its mask
                lengths = self.lengths if self.remat is None and self.starts is None else None
                return run_cudnn(cell, params, state, xs, mask, lengths, self.reverse)
            if self.method == "associative":
                return self._run_associative(cell, params, state, xs, noise, mask)
            return self._run_step_by_step(cell, params, state, xs, noise, mask)

        if self.remat is None or self.remat >= num_steps:
            return chunk(state, steps)
        return run_chunks(chunk, self.remat, num_steps, self.reverse, state, steps)

    def _run_step_by_step(
        self,
        cell: Cell,
        params: Params,
        state: State,
        xs: PyTree,
        noise: Noise,
        mask: Array | None,
    ) -> tuple[State, PyTree]:
        num_steps = jax.tree.leaves(xs)[0].shape[0]
        # chunks, and the log T levels of an associative scan, need a fixed T
        is_fixed = isinstance(num_steps, int)
        if isinstance(cell, ChunkwiseCell) and self.method == "auto" and is_fixed:
            return self._run_in_chunks(cell, params, state, xs, noise, mask)
        if isinstance(cell, LinearCell):
            if self.method == "auto" and is_fixed and jax.default_backend() != "cpu":
                return self._run_associative(cell, params, state, xs, noise, mask)
            zs = cell.project(params, xs, noise)

            def recur(params: Params, state: State, z: Projected) -> tuple[State, State]:
                a, b = cell.coefficients(params, z)
                after = jax.tree.map(lambda a, s, b: a * s + b, a, state, b)
                return after, after

            final, states = self.run_steps(recur, params, state, zs, mask)
            return final, cell.readout(params, states, zs)
        zs = cell.project(params, xs, noise)
        return self.run_steps(cell.step, params, state, zs, mask, cell.prefers_scan)

    def run_steps(
        self,
        step: Step,
        params: Params,
        state: State,
        zs: Projected,
        mask: Array | None,
        prefers_scan: bool = False,
    ) -> tuple[State, PyTree]:
        """Run ``step`` over all time steps by the method of the loop."""
        if self.method == "scan" or (self.method == "auto" and prefers_scan):
            return scan(step, params, state, zs, mask, self.reverse)
        if self.method == "static":
            return _static(step, params, state, zs, mask, self.reverse)
        return scan_with_derivative(step, params, state, zs, mask, self.reverse)

    def _run_in_chunks(
        self,
        cell: ChunkwiseCell,
        params: Params,
        state: State,
        xs: PyTree,
        noise: Noise,
        mask: Array | None,
    ) -> tuple[State, PyTree]:
        zs = cell.project(params, xs, noise)
        num_steps = jax.tree.leaves(zs)[0].shape[0]

        def turn(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda a: jnp.flip(a, 0), tree) if self.reverse else tree

        def chunk(state: State, steps: tuple[Projected, Array | None]) -> tuple[State, PyTree]:
            zs, mask = turn(steps)
            state, ys = cell.run_chunk(params, state, zs, mask)
            return state, turn(ys)

        # products need one layout of the state and the steps
        state = lay_out_like_next(functools.partial(cell.step, params), state, zs)
        if num_steps <= cell.chunk_size:
            return chunk(state, (zs, mask))
        return run_chunks(chunk, cell.chunk_size, num_steps, self.reverse, state, (zs, mask))

    def _run_associative(
        self,
        cell: Cell,
        params: Params,
        state: State,
        xs: PyTree,
        noise: Noise,
        mask: Array | None,
    ) -> tuple[State, PyTree]:
        if not isinstance(cell, LinearCell):
            raise ValueError(
                f"method 'associative' needs a linear cell, but {cell} is not linear; use 'auto'"
            )
        zs = cell.project(params, xs, noise)
        a, b = cell.coefficients(params, zs)
        if mask is not None:
            a = select(mask, a, jax.tree.map(jnp.ones_like, a))
            b = zero_outside(mask, b)

        def compose(first: tuple[State, State], then: tuple[State, State]) -> tuple[State, State]:
            (a1, b1), (a2, b2) = first, then
            product = jax.tree.map(jnp.multiply, a2, a1)
            return product, jax.tree.map(lambda a2, b1, b2: a2 * b1 + b2, a2, b1, b2)

        a, b = jax.lax.associative_scan(compose, (a, b), reverse=self.reverse)
        states = jax.tree.map(lambda a, s, b: a * s[None] + b, a, state, b)
        last = 0 if self.reverse else -1
        return jax.tree.map(lambda s: s[last], states), cell.readout(params, states, zs)


def scan(
    step: Step,
    params: Params,
    state: State,
    zs: Projected,
    mask: Array | None,
    reverse: bool = False,
) -> tuple[State, PyTree]:
    """Run ``step`` over all time steps with `jax.lax.scan`."""

    def body(state: State, step_values: tuple[Projected, Array | None]) -> tuple[State, PyTree]:
        return masked_step(step, params, state, *step_values)

    steps = zs, mask
    return jax.lax.scan(body, lay_out_like_next(body, state, steps), steps, reverse=reverse)


def _static(
    step: Step, params: Params, state: State, zs: Projected, mask: Array | None, reverse: bool
) -> tuple[State, PyTree]:
    """Run ``step`` in a Python loop; the program grows with the number of steps."""
    num_steps = jax.tree.leaves(zs)[0].shape[0]
    ys = {}
    for t in reversed(range(num_steps)) if reverse else range(num_steps):
        z, m = jax.tree.map(lambda a: a[t], (zs, mask))  # noqa: B023, used at once
        state, ys[t] = masked_step(step, params, state, z, m)
    return state, jax.tree.map(lambda *y: jnp.stack(y), *(ys[t] for t in range(num_steps)))


def run_chunks(
    run: Callable[[State, PyTree], tuple[State, PyTree]],
    size: int,
    num_steps: int,
    reverse: bool,
    state: State,
    steps: PyTree,
) -> tuple[State, PyTree]:
    """Call ``run`` on chunks of ``steps``; the backward pass recomputes each chunk."""
    rest = num_steps % size
    whole, last = slice(0, num_steps - rest), slice(num_steps - rest, num_steps)

    def run_rest(state: State) -> tuple[State, PyTree]:
        return jax.checkpoint(run)(state, jax.tree.map(lambda a: a[last], steps))

    ys_of_rest = None
    if rest and reverse:
        state, ys_of_rest = run_rest(state)
    chunks = jax.tree.map(lambda a: a[whole].reshape(-1, size, *a.shape[1:]), steps)
    state = lay_out_like_next(run, state, chunks)
    # within a scan, XLA cannot merge the recomputation with the forward pass
    again = jax.checkpoint(run, prevent_cse=False)
    state, ys = jax.lax.scan(again, state, chunks, reverse=reverse)
    ys = jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), ys)
    if rest and not reverse:
        state, ys_of_rest = run_rest(state)
    if ys_of_rest is not None:
        ys = jax.tree.map(lambda *y: jnp.concatenate(y), ys, ys_of_rest)
    return state, ys


def _starts_of_the_next(starts: Array, mask: Array) -> Array:
    """Return at each valid step the value of ``starts`` at the next valid step, cyclically."""
    sequence = jnp.cumsum(starts & mask, axis=0, dtype=jnp.int32)
    # sequence numbers never decrease, so the smallest later one is that of the next valid step
    largest = 2**31 - 1
    numbers = jnp.where(mask, sequence, largest)
    around = sequence[-1:] + jnp.min(numbers, axis=0, keepdims=True)
    following = jax.lax.cummin(jnp.concatenate([numbers[1:], around]), axis=0, reverse=True)
    return mask & (sequence < following)
