"""All valid calls of public functions."""

import functools
import pathlib
import tempfile
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import seqjax
from benchmarks.wrong_calls.accepts import (
    between,
    floats,
    integers,
    is_arrays,
    is_floating_dtype,
    is_floats,
    is_integer,
    is_key,
    is_number,
    is_numbers,
    like,
    optional,
)
from benchmarks.wrong_calls.attention_calls import attention_examples
from benchmarks.wrong_calls.cell_calls import cell_examples
from benchmarks.wrong_calls.data_calls import data_examples
from benchmarks.wrong_calls.example import Argument, Example, of
from benchmarks.wrong_calls.forecast_calls import forecast_examples
from benchmarks.wrong_calls.interop_calls import interop_examples
from benchmarks.wrong_calls.loss_calls import loss_examples
from benchmarks.wrong_calls.task_calls import task_examples
from seqjax import (
    attention,
    cells,
    ctc,
    data,
    decoding,
    devices,
    dynamic_evaluation,
    export,
    forecasting,
    losses,
    nn,
    pooling,
    regularization,
    sampling,
    seq2seq,
    tasks,
    training,
    truncation,
    wrappers,
)
from seqjax.data import windows
from seqjax.interop import flax_linen, flax_nnx, keras, linen, pytorch, tensorflow

MODULES = (
    seqjax,
    attention,
    cells,
    wrappers,
    losses,
    ctc,
    pooling,
    truncation,
    sampling,
    forecasting,
    decoding,
    seq2seq,
    training,
    dynamic_evaluation,
    devices,
    regularization,
    nn,
    export,
    tasks,
    data,
    windows,
    flax_linen,
    flax_nnx,
    keras,
    linen,
    pytorch,
    tensorflow,
)


@functools.cache
def examples() -> tuple[Example, ...]:
    """All valid calls."""
    cell = seqjax.BasicRNN(4)
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.ones((2, 6, 3), jnp.float32)
    lengths = np.array([6, 2])
    rows = np.array([[0, 1, 2], [2, 1, 0]])
    mask = np.ones((2, 6), bool)
    state = cell.initial_state((2,))
    flag = lambda v: isinstance(v, bool)  # noqa: E731
    key = Argument(jax.random.key(0), is_key)
    natural = between(0, 2**31 - 1, is_integer)
    positive = between(1, 2**31 - 1, is_integer)
    run: dict[str, Any] = {
        "cell": cell,
        "params": Argument(params, like(params)),
        "xs": Argument(xs, like(xs)),
        "lengths": Argument(lengths, optional(like(lengths, 0, 6))),
        "initial_state": Argument(state, optional(like(state))),
        "key": Argument(None, optional(is_key)),
        "deterministic": False,
        "time_major": False,
        "method": "scan",
        "remat": Argument(2, optional(positive)),
    }
    masked = run | {"mask": Argument(mask, optional(like(mask)))}
    del masked["lengths"]
    model = seqjax.LanguageModel(seqjax.GRU(4), 5)
    model_params = model.init(jax.random.key(0), 5)
    tokens = {"tokens": Argument(rows, integers(0, 4, any_shape=True))}
    of_model = {"model": model, "params": Argument(model_params, like(model_params))}
    start = sampling.prime(model, model_params, jnp.asarray(rows))
    logits = jnp.ones((2, 3, 4), jnp.float32)
    scores = jnp.ones((2, 6), jnp.float32)
    weights = jnp.ones((2, 3), jnp.float32)
    short = Argument(np.array([3, 1]), optional(like(np.array([3, 1]), 0, 3)))
    segments = np.array([[0, 0, 1, 1, 1, -1], [2, 2, 2, 2, 3, 3]])
    pool = {"ys": Argument(xs, floats(2, 6, None)), "lengths": run["lengths"], "time_major": False}
    alignments = {
        "logits": Argument(logits, floats(2, 3, None)),
        "lengths": short,
        "blank": Argument(0, between(0, 3, is_integer)),
        "time_major": False,
    }
    optimizer = optax.sgd(0.1)

    def loss_fn(params: Any, carry: Any, batch: Any, key: Any = None) -> tuple[jax.Array, Any]:
        # does not use the batch: errors from a wrong one would not be seqjax's
        return optax.tree.norm(params), carry

    vector = jnp.ones((2,), jnp.float32)
    train = training.init_train_state(vector, optimizer, None)
    batch = jnp.ones((3, 4, 2), jnp.float32)
    is_state = lambda v: (  # noqa: E731
        isinstance(v, training.TrainState)
        and like(train.step)(v.step)
        and is_floats(v.params)
        and v.carry is None
        and not jax.tree.leaves(v.opt_state)
    )
    mesh = devices.data_mesh(4)
    rule = lambda path, shape, devices: jax.sharding.PartitionSpec()  # noqa: E731
    is_optimizer = lambda v: isinstance(v, optax.GradientTransformation)  # noqa: E731
    learn: dict[str, Any] = {
        "loss_fn": Argument(loss_fn, callable),
        "optimizer": Argument(optimizer, is_optimizer),
    }
    of_nnx = {
        "deterministic": False,
        "param_dtype": Argument(jnp.float32, is_floating_dtype),
        "rngs": Argument(nnx.Rngs(0), lambda v: isinstance(v, nnx.Rngs)),
    }
    layer = nn.Recurrent(cell, 3, rngs=nnx.Rngs(0))
    path = pathlib.Path(tempfile.mkdtemp(), "model.zip")
    result = [
        *cell_examples(),
        *attention_examples(key),
        of(
            "dynamic sgd",
            dynamic_evaluation.sgd,
            learning_rate=Argument(0.1, between(0, 1e308)),
            decay=Argument(0.1, between(0, 1)),
        ),
        of(
            "dynamic rms",
            dynamic_evaluation.rms,
            statistics=Argument(vector, is_floats),
            learning_rate=Argument(0.1, between(0, 1e308)),
            decay=Argument(0.1, between(0, 1e308)),
            epsilon=Argument(1e-8, between(1e-300, 1e308)),
        ),
        of(
            "mean_squared_gradient",
            dynamic_evaluation.mean_squared_gradient,
            loss_fn=learn["loss_fn"],
            params=Argument({"w": vector}, is_floats),
            carry=Argument(None, is_numbers),
            batches=Argument(
                batch, lambda v: len({np.shape(a)[:1] for a in jax.tree.leaves(v)}) == 1
            ),
        ),
        of("LayerNorm", seqjax.cells.LayerNorm, gain=1.0, shift=0.0),
        of("unroll", seqjax.unroll, **run, reverse=False),
        of("unroll masked", seqjax.unroll, **masked, reverse=False),
        of(
            "unroll of tokens",
            seqjax.unroll,
            cell=cell,
            params=run["params"],
            lengths=short,
            xs=Argument(rows, lambda v: integers(0, 2, any_shape=True)(v) and len(v) == 2),
        ),
        of(
            "unroll of tokens in full",
            seqjax.unroll,
            cell=cell,
            params=Argument(
                params,
                lambda v: (  # of any number of tokens
                    type(v) is type(params)
                    and floats(None, 4)(v.input_kernel)
                    and np.ndim(v.input_kernel) == 2
                    and like(params[1:])(v[1:])
                ),
            ),
            xs=Argument(rows, lambda v: integers(0, 2, any_shape=True)(v) and len(v) == 2),
            initial_state=run["initial_state"],
        ),
        of(
            "step",
            seqjax.step,
            cell=cell,
            params=run["params"],
            state=run["initial_state"],
            x=Argument(xs[:, 0], like(xs[:, 0])),
            key=run["key"],
            deterministic=False,
            start=Argument(mask[:, 0], optional(like(mask[:, 0]))),
        ),
        of(
            "step of tokens",
            seqjax.step,
            cell=cell,
            params=run["params"],
            state=run["initial_state"],
            x=Argument(rows[:, 0], lambda v: like(rows[:, 0], 0, 2)(v) or floats(2, 3)(v)),
        ),
        of("truncated_unroll", truncation.truncated_unroll, **run, num_steps=2),
        of(
            "truncated_chunk",
            truncation.truncated_chunk,
            **run,
            num_steps=3,
        ),
        of(
            "chunks",
            truncation.chunks,
            num_steps=2,
            streams=Argument(
                {"a": np.ones((2, 6)), "b": rows.repeat(2, 1)},
                lambda v: (
                    isinstance(v, dict | tuple | list | np.ndarray | jax.Array)
                    and len({np.shape(leaf)[:2] for leaf in jax.tree.leaves(v)}) == 1
                    and all(
                        isinstance(leaf, np.ndarray | jax.Array) and leaf.ndim > 1
                        for leaf in jax.tree.leaves(v)
                    )
                ),
            ),
        ),
        of(
            "sequence_loss",
            losses.sequence_loss,
            logits=Argument(logits, floats(2, 3, None)),
            lengths=short,
            targets=Argument(rows, like(rows, 0, 3)),
            label_smoothing=Argument(0.1, lambda v: is_number(v) and 0 <= v < 1),
            average_over_time=True,
            average_over_batch=True,
            time_major=False,
        ),
        of(
            "sequence_loss weighted",
            losses.sequence_loss,
            logits=Argument(logits, floats(2, 3, None)),
            targets=Argument(rows, like(rows, 0, 3)),
            weights=Argument(
                weights,
                lambda v: v is None or like(weights)(v) or like(rows, 0)(v) or like(rows > 0)(v),
            ),
        ),
        *loss_examples(),
        of(
            "ctc_loss",
            ctc.ctc_loss,
            logits=Argument(logits, floats(2, 3, None)),
            targets=Argument(
                np.array([[1, 2], [3, 2]]),
                lambda v: (
                    integers(1, 3, any_shape=True)(v)
                    and np.ndim(v) == 2
                    and len(v) == 2
                    and np.shape(v)[1] >= 2
                ),
            ),
            lengths=Argument(np.array([3, 1]), optional(like(np.array([3, 1]), 0, 3))),
            target_lengths=Argument(np.array([2, 1]), like(np.array([2, 1]), 0, 2)),
            blank=Argument(0, between(0, 0, is_integer)),
            average_over_batch=True,
            time_major=False,
        ),
        of("greedy_decode", ctc.greedy_decode, **alignments),
        of(
            "beam_decode",
            ctc.beam_decode,
            **alignments,
            width=Argument(3, between(2, 2**31 - 1, is_integer)),
            n_best=Argument(2, optional(between(1, 3, is_integer))),
        ),
        of("last_valid", pooling.last_valid, **pool),
        of("mean_valid", pooling.mean_valid, **pool),
        of("attention_pool", pooling.attention_pool, **pool, scores=scores),
        of(
            "last_valid masked",
            pooling.last_valid,
            ys=Argument(xs, floats(2, 6, None)),
            mask=masked["mask"],
        ),
        of(
            "mean_valid of segments",
            pooling.mean_valid,
            ys=Argument(xs, floats(2, 6, None)),
            segments=Argument(segments, like(segments, -1, 3)),
            num_segments=Argument(4, between(4, 2**31 - 1, is_integer)),
        ),
        of(
            "Sampling",
            sampling.Sampling,
            top_k=2,
            top_p=Argument(0.5, between(1e-300, 1)),
            temperature=Argument(0.7, between(0, np.inf)),
        ),
        of("prime", sampling.prime, **of_model, **tokens),
        of(
            "generate",
            sampling.generate,
            **of_model,
            generation=Argument(start, like(start)),
            key=key,
            length=Argument(3, natural),
            sampling=sampling.Sampling(0.5),
        ),
        of(
            "draw",
            sampling.draw,
            key=key,
            sampling=sampling.Sampling(top_k=2, top_p=0.5),
            logits=Argument(
                logits[0], lambda v: floats(None)(v) and bool(np.isfinite(np.asarray(v)).all())
            ),
        ),
        of(
            "init_train_state",
            training.init_train_state,
            params=Argument({"w": vector}, is_floats),
            optimizer=learn["optimizer"],
            carry=Argument(None, is_numbers),
        ),
        of(
            "mean_value_and_grad",
            training.mean_value_and_grad,
            loss_fn=learn["loss_fn"],
            accumulate=Argument(1, between(1, 2**31 - 1, is_integer)),
        ),
        of(
            "train_step",
            training.train_step,
            **learn,
            state=Argument(train, is_state),
            batch=Argument(batch[0], lambda v: True),
            key=run["key"],
            accumulate=Argument(1, between(1, 1, is_integer)),
        ),
        of(
            "train_steps",
            training.train_steps,
            **learn,
            state=Argument(train, is_state),
            batches=Argument(batch, is_arrays),
            key=run["key"],
            accumulate=Argument(1, between(1, 1, is_integer)),
        ),
        of(
            "data_parallel_steps",
            training.data_parallel_steps,
            **learn,
            mesh=Argument(mesh, lambda v: isinstance(v, jax.sharding.Mesh)),
            accumulate=Argument(1, between(1, 2**31 - 1, is_integer)),
        ),
        of(
            "state_shardings",
            training.state_shardings,
            state=Argument(train, lambda v: isinstance(v, training.TrainState)),
            mesh=Argument(mesh, lambda v: isinstance(v, jax.sharding.Mesh)),
            rule=Argument(rule, lambda v: v is rule),
        ),
        of(
            "data_parallel_steps of a batch",
            functools.partial(_run_parallel, loss_fn, optimizer, mesh),
            key=run["key"],
            state=Argument(train, is_state),
            batches=Argument(
                batch,
                lambda v: is_arrays(v) and all(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(v)),
            ),
        ),
        of("one_cpu_device_per_core", devices.one_cpu_device_per_core),
        of("data_mesh", devices.data_mesh, rows=4),
        of(
            "split_leading_axis",
            devices.split_leading_axis,
            tree=Argument(
                {"a": batch},
                lambda v: (
                    is_arrays(v)
                    and bool(jax.tree.leaves(v))
                    and all(np.ndim(leaf) and len(leaf) for leaf in jax.tree.leaves(v))
                ),
            ),
        ),
        of(
            "drop_weights",
            regularization.drop_weights,
            key=key,
            params=Argument(params, lambda v: is_floats(v) and hasattr(v, "recurrent_kernel")),
            rate=Argument(0.5, between(0, 0.999)),
            names=Argument(
                ("recurrent_kernel",),
                lambda v: isinstance(v, list | tuple) and all(isinstance(name, str) for name in v),
            ),
        ),
        of("nn.Recurrent", nn.Recurrent, cell=cell, in_features=3, **of_nnx),
        of(
            "nn.Recurrent.__call__",
            layer,
            xs=Argument(xs, like(xs)),
            lengths=run["lengths"],
            key=run["key"],
            deterministic=Argument(None, optional(flag)),
        ),
        of(
            "nn.Bidirectional",
            nn.Bidirectional,
            forward=cell,
            backward=cell,
            in_features=3,
            **of_nnx,
        ),
        of(
            "nn.SequenceModel",
            nn.SequenceModel,
            cell=cell,
            vocabulary_size=5,
            embedding_size=2,
            num_classes=2,
            **of_nnx,
        ),
        of("export.Step", export.Step),
        of(
            "export.Unroll",
            export.Unroll,
            lengths=True,
            initial_state=False,
            method="static",
            num_steps=3,
        ),
        of("export.Generate", export.Generate, length=3, sampling=sampling.Sampling()),
        of(
            "export.write",
            functools.partial(export.write, path),
            cell=cell,
            params=run["params"],
            xs=Argument(xs, like(xs)),
            functions=Argument((export.Step(),), lambda v: v is None),
            platforms=Argument(("cpu",), lambda v: False),
        ),
        of(
            "ToLinen",
            linen.ToLinen,
            cell=cell,
            param_dtype=Argument(jnp.float32, is_floating_dtype),
        ),
        of("FromLinen", linen.FromLinen, module=flax.linen.GRUCell(4), in_features=3),
        *task_examples(key),
        *interop_examples(),
        *data_examples(),
        *forecast_examples(),
    ]
    return tuple(result)


def _run_parallel(
    loss_fn: Any, optimizer: Any, mesh: Any, state: Any, batches: Any, key: Any = None
) -> Any:
    """A call of a function of `data_parallel_steps`, on a copy of the state, which is donated."""
    state = jax.tree.map(lambda a: jnp.array(a) if isinstance(a, jax.Array) else a, state)
    return training.data_parallel_steps(loss_fn, optimizer, mesh)(state, batches, key)
