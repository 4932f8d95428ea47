"""Export: what a file gives without seqjax is what seqjax gives."""

import collections
import io
import itertools
import json
import pickle
import subprocess
import sys
import textwrap
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

import seqjax.export
from seqjax import (
    GRU,
    LRU,
    LSTM,
    RGLRU,
    Bidirectional,
    Dropout,
    LanguageModel,
    LearnedState,
    Stack,
    step,
    unroll,
)
from seqjax.cells import LSTMState
from seqjax.export import Generate, Step, Unroll, write
from seqjax.sampling import Sampling, generate, prime
from tests.cells.registry import BROAD, EXAMPLES

STACK = Stack([LSTM(4), Dropout(LearnedState(GRU(3)), 0.5)])
SIZES = [(1, 1), (2, 3), (5, 8)]
QUICK = ("LanguageModel",)
# in float64 what is left of rounding is far below any difference of the equations
ALL = [pytest.param(name, jnp.float32, id=name) for name in QUICK] + [
    pytest.param(name, jnp.float64, id=f"{name} float64", marks=pytest.mark.slow)
    for name in BROAD
    if EXAMPLES[name].memory_size is None
]

RUN_CALLS = """
import sys
sys.modules["seqjax"] = None  # its import is an error from here on
import json, pickle, zipfile
import jax, jax.export, numpy as np

jax.config.update("jax_enable_x64", "x64" in sys.argv)
results = []
for path, name, *arguments in pickle.load(open(sys.argv[1], "rb")):
    with zipfile.ZipFile(path) as file:
        call = jax.jit(jax.export.deserialize(file.read(f"functions/{name}")).call)
        params = {
            name: np.frombuffer(file.read(f"params/{name}"), about["dtype"]).reshape(about["shape"])
            for name, about in json.loads(file.read("index.json"))["params"].items()
        }
    # one result of a call before is named by its place
    take = lambda a: results[a[1]][a[2]] if isinstance(a, tuple) else a
    result = call(params, *map(take, arguments))
    results.append(result if isinstance(result, tuple) else (result,))
pickle.dump(jax.tree.map(np.asarray, results), open(sys.argv[2], "wb"))
"""


def run_python(code, folder, *arguments):
    command = [sys.executable, "-I", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call_without_seqjax(folder, *calls, x64=False):
    """The results of calls ``(path, function, *arguments)`` in a process that has JAX alone."""
    given, got = folder / "calls", folder / "results"
    given.write_bytes(pickle.dumps(jax.tree.map(plain_array, list(calls))))
    run_python(RUN_CALLS, folder, given, got, *["x64"] * x64)
    return pickle.loads(got.read_bytes())


def plain_array(a):
    return np.asarray(a) if isinstance(a, jax.Array) else a


def plain(tree):
    """An array, or a flat dict of arrays by their paths, written apart from the library."""
    if isinstance(tree, jax.Array):
        return tree
    return {
        "".join(f".{getattr(key, 'name', getattr(key, 'idx', None))}" for key in path)[1:]: leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def assert_close(got, expected, tolerance=1e-6):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype) if a.dtype == jnp.float64 else a, tree)


def features(shape):
    return jax.random.normal(jax.random.key(1), shape, jnp.float32)


def lengths_for(batch, num_steps):
    return jnp.arange(batch, dtype=jnp.int32) % (num_steps + 1)


def read(path, name):
    with zipfile.ZipFile(path) as file:
        return jax_export.deserialize(file.read(f"functions/{name}"))


def index_of(path):
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("index.json"))


def test_the_code_in_the_docs_loads_a_file_without_seqjax(tmp_path):
    params = STACK.init(jax.random.key(0), 3)
    xs = features((2, 5, 3))
    write(tmp_path / "model.zip", STACK, params, xs)
    np.save(tmp_path / "xs.npy", xs)
    block = seqjax.export.__doc__.partition("::\n")[2].partition("\nArguments and results")[0]
    code = (
        "import sys; sys.modules['seqjax'] = None\n"
        "import numpy as np; xs = np.load('xs.npy')\n"
        f"{textwrap.dedent(block)}\n"
        "np.savez('results.npz', ys=ys, **state)"
    )
    run_python(code, tmp_path)
    state, ys = unroll(STACK, params, xs, deterministic=True)
    got = dict(np.load(tmp_path / "results.npz"))
    assert_close(got, {**plain(state), "ys": ys})
    assert got.keys() == {"0.c", "0.h", "1.h", "ys"}


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def damages(content):
    """Every bit of the directory at the end, some of the bits before it, and some lengths."""
    directory, rng = content.index(b"PK\x01\x02"), np.random.default_rng(0)
    places = [*rng.integers(directory, size=100), *range(directory, len(content))]
    for place, bit in itertools.product(places, range(8)):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        yield bytes(changed)
    yield from (content[:length] for length in rng.integers(len(content), size=100))


def test_a_damaged_file_cannot_be_read_or_holds_the_same_or_less(tmp_path):
    # the index lists every member, so a program that reads a lost one gets an error from zipfile
    path, outcomes = tmp_path / "model.zip", collections.Counter()
    write(path, GRU(2), GRU(2).init(jax.random.key(0), 3), features((2, 5, 3)))
    whole = members(path.read_bytes())
    for content in damages(path.read_bytes()):
        try:
            read = members(content)
        except Exception:  # zipfile raises errors of many classes: what counts is that it raises
            outcomes["error"] += 1
            continue
        assert read.items() <= whole.items()
        outcomes["same" if read == whole else "less"] += 1
    assert outcomes["error"] > outcomes["same"] > 0
    assert outcomes["less"] > 0


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_an_unroll_of_any_batch_and_time(name, dtype, tmp_path):
    cell, input_size = EXAMPLES[name].cell, EXAMPLES[name].input_size
    params = cell.init(jax.random.key(0), input_size, dtype)
    ways, sizes = [("auto", True)], SIZES[1:]
    if dtype == jnp.float32:
        ways, sizes = itertools.product(("auto", "scan"), (False, True)), SIZES
    calls, expected = [], []
    for method, lengths in ways:
        path = tmp_path / f"{method}{lengths}.zip"
        for size in sizes:
            xs = cast(EXAMPLES[name].draw_inputs(jax.random.key(1), size), dtype)
            options = {"lengths": lengths_for(*size)} if lengths else {}
            calls.append((path, "unroll", plain(xs), *options.values()))
            result = unroll(cell, params, xs, **options, deterministic=True, method="scan")
            expected.append(tuple(map(plain, result)))
        write(path, cell, params, xs, [Unroll(lengths=lengths, method=method)])
        assert read(path, "unroll").platforms == ("cpu", "cuda", "tpu")
    results = call_without_seqjax(tmp_path, *calls, x64=dtype == jnp.float64)
    for got, want in zip(results, expected, strict=True):
        assert_close(got, want, 1e-6 if dtype == jnp.float32 else 1e-12)


ATTENDING = [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "ContextAttention"))
    for name in EXAMPLES
    if EXAMPLES[name].memory_size is not None
]


@pytest.mark.parametrize("name", ATTENDING)
def test_a_context_of_any_size_is_bound_in_the_file(name, tmp_path):
    example = EXAMPLES[name]
    cell, path = example.cell, tmp_path / "model.zip"
    params = cell.init(jax.random.key(0), example.input_size, jnp.float64)
    memory = jax.random.normal(jax.random.key(1), (2, 7, example.memory_size), jnp.float64)
    xs = example.draw_inputs(jax.random.key(2), (1, 5))
    write(path, cell, params, xs, [Step(), Unroll(lengths=True)], memory=memory[:1, :2])
    bind, run, first_state, step = (
        jax.jit(read(path, name).call) for name in ("with_context", "unroll", "first_state", "step")
    )
    stored = plain(params)
    xs = example.draw_inputs(jax.random.key(2), (2, 3))
    valid, lengths = jnp.array([7, 3], jnp.int32), jnp.array([3, 2], jnp.int32)
    bound = bind(stored, memory, valid)
    own = seqjax.with_context(cell, params, memory, lengths=valid)
    expected = unroll(cell, own, xs, lengths=lengths, deterministic=True)
    assert_close(run(bound, xs, lengths), tuple(map(plain, expected)), 1e-12)
    got = step(bound, first_state(bound, xs[:, 0]), xs[:, 0])
    want = seqjax.step(cell, own, None, xs[:, 0], deterministic=True)
    assert_close(got, tuple(map(plain, want)), 1e-12)


def test_a_cell_that_attends_needs_an_example_of_its_context(tmp_path):
    example = EXAMPLES["ContextAttention"]
    params, xs = example.cell.init(jax.random.key(0), 3), jnp.ones((1, 2, 3), jnp.float32)
    with pytest.raises(ValueError, match="attends to a context; give an example of it"):
        write(tmp_path / "model.zip", example.cell, params, xs)
    with pytest.raises(ValueError, match=r"memory must be floating \[B, S, M\]"):
        write(tmp_path / "model.zip", example.cell, params, xs, memory=xs[0])
    params = LSTM(3).init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="no cell inside"):
        write(tmp_path / "model.zip", LSTM(3), params, xs, memory=xs)


def test_steps_and_unrolls_go_on_from_a_state(tmp_path):
    params = STACK.init(jax.random.key(0), 3)
    params = jax.tree.map(lambda a: a + 0.1, params)  # the learned state too
    xs = features((2, 5, 3))
    path = tmp_path / "model.zip"
    write(path, STACK, params, xs, [Step(), Unroll(initial_state=True, lengths=True)])
    calls = [(path, "first_state", xs[:, 0])]
    calls += [(path, "step", ("result", t, 0), xs[:, t]) for t in range(5)]
    calls += [(path, "unroll", ("result", 2, 0), xs[:, 2:], jnp.array([3, 1], jnp.int32))]
    first, *steps, rest = call_without_seqjax(tmp_path, *calls)
    assert_close(first, (plain(STACK.first_state(params, (2,))),))
    state = None
    for t, got in enumerate(steps):
        state, y = step(STACK, params, state, xs[:, t], deterministic=True)
        assert_close(got, (plain(state), y))
        if t == 1:
            options = {"lengths": jnp.array([3, 1]), "initial_state": state}
            expected = unroll(STACK, params, xs[:, 2:], deterministic=True, **options)
    assert_close(rest, tuple(map(plain, expected)))


@pytest.mark.parametrize(
    ("dtype", "sampling"),
    [
        (jnp.float32, Sampling(0.7, top_k=3, top_p=0.9)),
        (jnp.bfloat16, Sampling()),
    ],
)
@pytest.mark.slow
def test_a_generator_of_any_batch_and_prompt(dtype, sampling, tmp_path):
    model = LanguageModel(Stack([LSTM(4), Dropout(GRU(3), 0.5)]), 5, embedding_size=2)
    params = model.init(jax.random.key(0), 5, dtype)
    prompts = [jnp.arange(b * p, dtype=jnp.int32).reshape(b, p) % 5 for b, p in SIZES]
    path, key = tmp_path / "model.zip", jax.random.key(1)
    write(path, model, params, prompts[0], [Generate(4, sampling)])
    calls = []
    for prompt in prompts:
        calls.append((path, "prime", prompt))
        for _ in range(2):
            calls.append(
                (path, "generate", ("result", len(calls) - 1, 0), jax.random.key_data(key))
            )
    results = call_without_seqjax(tmp_path, *calls)
    for n, prompt in enumerate(prompts):
        start = prime(model, params, prompt)
        assert_close(results[3 * n], (plain(start),))
        generation, tokens = generate(model, params, start, key, 8, sampling)
        drawn = np.concatenate([results[3 * n + 1][1], results[3 * n + 2][1]], 1)
        np.testing.assert_array_equal(drawn, tokens)
        assert_close(results[3 * n + 2][0], plain(generation))


@pytest.mark.parametrize("method", ["auto", "scan", "static", "associative"])
def test_a_fixed_time_and_any_batch(method, tmp_path):
    cell = RGLRU(3)
    params = cell.init(jax.random.key(0), 3)
    path = tmp_path / "model.zip"
    write(path, cell, params, features((2, 9, 3)), [Unroll(method=method, num_steps=6)])
    exported = read(path, "unroll")
    for batch in (1, 4):
        xs = features((batch, 6, 3))
        expected = unroll(cell, params, xs, method="scan")
        assert_close(exported.call(plain(params), xs), tuple(map(plain, expected)))
    with pytest.raises(ValueError, match="Shape mismatch"):
        exported.call(plain(params), features((1, 5, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remat": 2}, "remat=2 needs a fixed number of time steps, got xs with t steps; omit"),
        ({"method": "static"}, "method='static' needs a fixed number .* use method='scan', or mak"),
        ({"method": "associative"}, "method='associative' needs a fixed number of time steps"),
    ],
)
def test_a_symbolic_time_meets_what_needs_a_number(options, message):
    cell = RGLRU(3)
    params = cell.init(jax.random.key(0), 3)
    b, t = jax_export.symbolic_shape("b, t")

    def run(xs):
        return unroll(cell, params, xs, **options)

    export = jax_export.export(jax.jit(run))
    with pytest.raises(ValueError, match=message):
        export(jax.ShapeDtypeStruct((b, t, 3), jnp.float32))
    exported = export(jax.ShapeDtypeStruct((b, 5, 3), jnp.float32))
    xs = features((3, 5, 3))
    assert_close(exported.call(xs), unroll(cell, params, xs, method="scan"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "scan"])
@pytest.mark.parametrize("cell", [STACK, RGLRU(3)], ids=["Stack", "RGLRU"])
def test_gradients_of_any_batch_and_time(cell, method):
    params = cell.init(jax.random.key(0), 3)

    def gradient(params, xs, lengths):
        def loss(params):
            options = {"lengths": lengths, "deterministic": True, "method": method}
            return unroll(cell, params, xs, **options)[1].sum()

        return jax.grad(loss)(params)

    b, t = jax_export.symbolic_shape("b, t")
    exported = jax_export.export(jax.jit(gradient))(
        params, jax.ShapeDtypeStruct((b, t, 3), jnp.float32), jax.ShapeDtypeStruct((b,), jnp.int32)
    )
    for size in SIZES:
        given = params, features((*size, 3)), lengths_for(*size)
        assert_close(exported.call(*given), gradient(*given))


def test_a_symbolic_time_of_a_linear_cell_on_an_accelerator(monkeypatch, tmp_path):
    cell = LRU(4, 2)
    params = cell.init(jax.random.key(0), 3)
    xs = features((2, 5, 3))
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        write(tmp_path / "model.zip", cell, params, xs, [Unroll()])
    got = read(tmp_path / "model.zip", "unroll").call(plain(params), xs)
    assert_close(got, tuple(map(plain, unroll(cell, params, xs))))


def test_the_index_says_what_functions_take_and_return(tmp_path):
    params = STACK.init(jax.random.key(0), 3)
    write(tmp_path / "model.zip", STACK, params, features((1, 1, 3)), platforms=["cpu"])
    index = index_of(tmp_path / "model.zip")
    assert index["cell"] == repr(STACK)
    assert index["platforms"] == ["cpu"]
    assert {name: tuple(about["shape"]) for name, about in index["params"].items()} == {
        name: leaf.shape for name, leaf in plain(params).items()
    }
    functions = index["functions"]
    assert [*functions] == ["first_state", "step", "unroll"]
    state = {
        "0.c": {"shape": ["b", 4], "dtype": "float32"},
        "0.h": {"shape": ["b", 4], "dtype": "float32"},
        "1.h": {"shape": ["b", 3], "dtype": "float32"},
    }
    assert functions["unroll"] == {
        "arguments": {
            "params": index["params"],
            "xs": {"shape": ["b", "t", 3], "dtype": "float32"},
        },
        "results": {"state": state, "ys": {"shape": ["b", "t", 3], "dtype": "float32"}},
    }
    assert functions["step"]["arguments"]["state"] == state
    assert [*functions["step"]["arguments"]] == ["params", "state", "x"]


def public_types():
    found = []
    for module in (seqjax.cells, seqjax.wrappers, seqjax.types):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, tuple) and not name.startswith("_"):
                found.append(pytest.param(kind, id=name))
    return found


def round_trip(tree):
    """The tree that an exported identity returns, after it was serialised and read back."""
    exported = jax_export.export(jax.jit(lambda tree: tree))(tree)
    exported = jax_export.deserialize(exported.serialize())
    return jax.tree.unflatten(exported.out_tree, jax.tree.leaves(tree))


@pytest.mark.parametrize("kind", public_types())
def test_every_public_type_is_registered(kind):
    tree = kind(*(jnp.full(2, n, jnp.float32) for n in range(len(kind._fields))))
    got = round_trip(tree)
    assert type(got) is kind
    assert jax.tree.structure(got) == jax.tree.structure(tree)


def test_parameters_and_states_of_every_cell_are_registered():
    for example in EXAMPLES.values():
        trees = jax.eval_shape(
            lambda: (
                example.cell.init(jax.random.key(0), example.input_size),  # noqa: B023, used at once
                example.cell.initial_state((2,)),  # noqa: B023
            )
        )
        assert jax.tree.structure(round_trip(trees)) == jax.tree.structure(trees)


def test_a_function_of_your_own_takes_a_state():
    cell = LSTM(4)
    params = cell.init(jax.random.key(0), 3)

    def run(params, state, xs):
        return unroll(cell, params, xs, initial_state=state)

    exported = jax_export.export(jax.jit(run))(
        params, cell.initial_state((2,)), jnp.ones((2, 5, 3), jnp.float32)
    )
    state, _ = jax_export.deserialize(exported.serialize()).call(
        params, cell.initial_state((2,)), features((2, 5, 3))
    )
    assert isinstance(state, LSTMState)


CELL = LSTM(4)
PARAMS = CELL.init(jax.random.key(0), 3)
XS = np.ones((2, 5, 3), np.float32)
BOTH = Bidirectional(LSTM(2), LSTM(2))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("LSTM", PARAMS, XS), {}, "cell must be a seqjax cell"),
        ((CELL, PARAMS.bias, XS), {}, "params must have the structure"),
        ((CELL, PARAMS, XS[..., :2]), {}, "parameters are for 3 input features"),
        ((CELL, PARAMS, XS[0]), {}, r"one batch and one time axis, \[B, T, ...\], got .* \(5,\)"),
        ((CELL, PARAMS, XS), {"functions": []}, "each kind at most once"),
        (
            (CELL, PARAMS, XS),
            {"functions": [Unroll(), Unroll(lengths=True)]},
            "each kind at most once",
        ),
        ((CELL, PARAMS, XS), {"functions": ["unroll"]}, "functions must be a list of"),
        (
            (CELL, PARAMS, XS),
            {"functions": [Generate(3)]},
            "has size 4 but its vocabulary has size 3",
        ),
        ((CELL, PARAMS, XS), {"platforms": "cpu"}, "platforms must be a list such as"),
        ((CELL, PARAMS, XS), {"platforms": ["gpu"]}, "a platform must be one of 'cpu', 'cuda'"),
        (
            (BOTH, BOTH.init(jax.random.key(0), 3), XS),
            {"functions": [Step()]},
            "it cannot run step by step",
        ),
    ],
)
def test_what_cannot_be_written_is_a_value_error_and_no_file(arguments, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "model.zip", *arguments, **options)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("cell", "names"),
    [(CELL, {"first_state", "step", "unroll"}), (BOTH, {"unroll"})],
)
def test_what_a_layer_can_do_is_exported_by_default(cell, names, tmp_path):
    params = cell.init(jax.random.key(0), 3)
    write(tmp_path / "model.zip", cell, params, XS, platforms=["cpu"])
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        assert json.loads(file.read("index.json"))["functions"].keys() == names


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unroll(method="static"), "method='static' needs a fixed number of time steps"),
        (lambda: Unroll(method="associative"), "give num_steps, or use method='scan'"),
        (lambda: Unroll(method="cudnn"), "method must be one of 'auto', 'scan'"),
        (lambda: Unroll(num_steps=0), "num_steps must be a whole number of at least 1, got 0"),
        (lambda: Unroll(lengths=1), "lengths must be True or False, got 1"),
        (lambda: Unroll(initial_state=None), "initial_state must be True or False, got None"),
        (lambda: Generate(0), "length must be a whole number of at least 1, got 0"),
        (lambda: Generate(3, 0.8), "sampling must be a seqjax.sampling.Sampling"),
    ],
)
def test_bad_options_are_value_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*/nowhere does not exist; create it"):
        write(tmp_path / "nowhere" / "model.zip", CELL, PARAMS, XS)
    with pytest.raises(IsADirectoryError, match="it is a folder; give a file name"):
        write(tmp_path, CELL, PARAMS, XS)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.zip"
    path.write_bytes(b"before")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", fail)
        with pytest.raises(OSError, match="disk full"):
            write(path, CELL, PARAMS, XS, [Step()], platforms=["cpu"])
    assert path.read_bytes() == b"before"
    write(path, CELL, PARAMS, XS, [Step()], platforms=["cpu"])
    assert zipfile.is_zipfile(path)
    assert [*tmp_path.iterdir()] == [path]
