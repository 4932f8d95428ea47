"""What every cell passes: however it is run, the numbers are the same."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import Bidirectional, Cell, Stack, testing, unroll
from seqjax.testing.checks import second_derivatives_agree
from tests.cells.registry import BROAD, EXAMPLES

B, T = 3, 4
# in a stack, an option changes nothing but the noise that is drawn
IN_A_STACK = [name for name in EXAMPLES if name in BROAD or EXAMPLES[name].cell.is_noisy]


def marked(names):
    """In the quick tests one cell, all of them with the slow ones."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (name != "LSTM")) for name in names]


def make(name):
    example = EXAMPLES[name]
    return testing.make_example(
        example.cell, example.input_size, example.draw_inputs, example.memory_size
    )


@pytest.mark.parametrize(
    "check",
    [check for check in testing.CHECKS if check is not second_derivatives_agree],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("name", marked(EXAMPLES))
def test_every_cell_passes(name, check):
    check(make(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", BROAD)
def test_second_derivatives_agree(name):
    second_derivatives_agree(make(name))


def test_every_cell_class_is_in_the_battery():
    classes = {
        value
        for module in (seqjax.cells, seqjax.wrappers)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Cell) and not inspect.isabstract(value)
    }
    assert classes <= {type(ex.cell) for name, ex in EXAMPLES.items() if " " not in name}
    public = {*seqjax.cells.__all__, *seqjax.wrappers.__all__}
    assert {cls.__name__ for cls in classes} <= public
    assert len(seqjax.__all__) <= 50


def starting_at_the_ends(xs, lengths):
    """Mark the last step of each sequence instead of the first, where rows hold several."""
    if not isinstance(xs, seqjax.wrappers.ResetInputs):
        return xs
    ends = np.array(xs.starts)
    for row, n in zip(ends, lengths, strict=True):
        row[:n] = np.roll(row[:n], -1)
    return seqjax.wrappers.ResetInputs(jnp.array(ends), xs.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROAD)
def test_both_directions_are_a_run_forward_and_one_in_reverse(name):
    cell, params, state, xs, *_ = make(name)
    both = Bidirectional(cell, cell)
    twice = seqjax.wrappers.Directions
    lengths = (T, 2, 0)
    options = {"lengths": jnp.array(lengths), "deterministic": True}
    final, ys = unroll(
        both, twice(params, params), xs, initial_state=twice(state, state), **options
    )
    halves = [], []
    for y in jax.tree.leaves(ys):
        for half, part in zip(halves, jnp.split(y, 2, axis=-1), strict=True):
            half.append(part)
    for reverse, end, half in (
        (False, final.forward, halves[0]),
        (True, final.backward, halves[1]),
    ):
        inputs = starting_at_the_ends(xs, lengths) if reverse else xs
        alone = unroll(cell, params, inputs, initial_state=state, reverse=reverse, **options)
        testing.close((end, half), (alone[0], jax.tree.leaves(alone[1])), 0)


@pytest.mark.parametrize("name", marked(IN_A_STACK))
def test_in_a_stack_layer_by_layer_equals_step_by_step_noise_included(name):
    example = EXAMPLES[name]
    cell, input_size = example.cell, example.input_size
    if not cell.can_step:
        return
    if name == "WithState":  # nothing goes on top of it
        cell = Stack([seqjax.GRU(3), cell])
    elif isinstance(input_size, int) and not example.wrap:
        cell = Stack([seqjax.OutputProjection(cell, input_size), cell])
    else:
        cell = Stack([cell])
    _, params, state, *_ = testing.make_example(
        cell, input_size, example.draw_inputs, example.memory_size
    )
    xs = example.draw_inputs(jax.random.key(3), (T, B))
    noise = {"key": jax.random.key(4)}
    expected = unroll(cell, params, xs, initial_state=state, time_major=True, **noise)
    drawn = cell.draw_noise(noise["key"], (T, B), input_size)
    zs = jax.jit(lambda: cell.project(params, xs, drawn))()
    step, ys = jax.jit(cell.step), []
    for t in range(T):
        state, y = step(params, state, jax.tree.map(lambda a: a[t], zs))  # noqa: B023, used at once
        ys.append(y)
    testing.close((state, jax.tree.map(lambda *y: jnp.stack(y), *ys)), expected)


def test_an_activation_that_is_no_function_is_refused():
    cells = [ex.cell for ex in EXAMPLES.values() if hasattr(ex.cell, "activation")]
    assert len(cells) > 10
    for cell in cells:
        with pytest.raises(ValueError, match=f"{type(cell).__name__}: activation must be a func"):
            dataclasses.replace(cell, activation="tanh")


@pytest.mark.parametrize("cls", sorted({type(ex.cell) for ex in EXAMPLES.values()}, key=str))
def test_the_docstring_has_equations_a_source_and_an_example(cls):
    doc = inspect.getdoc(cls)
    assert "::" in doc, "equations"
    assert "Args:" in doc
    assert "Raises:" in doc
    assert ">>> " in doc
    assert "Reference" in doc or "TensorFlow's" in doc


@dataclasses.dataclass(frozen=True)
class Leaky(seqjax.BasicRNN):
    """A cell that computes something else in every program."""

    outputs_hidden = False

    def step(self, params, state, z):
        state, y = super().step(params, state, z)
        return state, y + np.random.default_rng().normal()


def test_the_battery_fails_on_a_cell_that_breaks_a_promise():
    with pytest.raises(AssertionError, match=r"fails ways_to_run_agree: \s*Not equal"):
        testing.check_cell(Leaky(3))


@dataclasses.dataclass(frozen=True)
class Doubled(seqjax.BasicRNN):
    """A cell whose output is not its state, as it says."""

    def step(self, params, state, z):
        state, y = super().step(params, state, z)
        return state, 2 * y


@dataclasses.dataclass(frozen=True)
class Wide(seqjax.BasicRNN):
    """A cell that declares more outputs than it has."""

    @property
    def output_size(self):
        return self.units + 1

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return seqjax.BasicRNN(self.units).initial_state(batch_shape, dtype)

    def init(self, key, input_size, dtype=jnp.float32):
        return seqjax.BasicRNN(self.units).init(key, input_size, dtype)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Doubled(3), "outputs_hidden is true, but the output .* is not the state"),
        (Wide(3), r"fails shapes_agree: the output has size \(3,\), but output_size is 4"),
    ],
)
def test_the_battery_names_the_declaration_that_is_wrong(cell, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_cell(cell)
