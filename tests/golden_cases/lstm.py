"""TensorFlow's LSTMs, those of its contrib package included, and its fused ways to run them."""

import functools

import jax
import jax.numpy as jnp

from seqjax import GLSTM, GRU, LSTM, CoupledInputForgetGateLSTM, IndyLSTM, LayerNorm, WeightNorm
from seqjax.cells import LSTMNormParams, LSTMParams, Peepholes
from seqjax.wrappers import WeightNormParams
from tests.golden_cases.core import gru_params
from tests.golden_cases.harness import Case, Inputs, run_unroll, unflatten_state, variables

SCOPES = ("input", "forget", "transform", "output")  # of layer norms, in the order i, f, g, o


def reorder(a):
    """Columns i, j, f, o to i, f, g, o."""
    i, j, f, o = jnp.split(a, 4, axis=-1)
    return jnp.concatenate([i, f, j, o], axis=-1)


def forget_open(bias, gates, forget_bias):
    """Add the forget bias, which the original adds at run time, to the part of f."""
    parts = jnp.split(bias, len(gates))
    parts[gates.index("f")] += forget_bias
    return jnp.concatenate(parts)


def dense(cell, get):
    """The parameters of a cell whose variables are named like those of ``LSTMCell``.

    ``kernel`` has the input rows over the recurrent ones.
    """
    kernel = reorder(get("cell__kernel"))
    params = LSTMParams(kernel[: -cell.output_size], kernel[-cell.output_size :], None)
    if cell.peepholes:
        holes = (get(f"w_{gate}_diag") for gate in "ifo")
        params = params._replace(peepholes=Peepholes(*holes))
    if cell.projection_size is not None:
        params = params._replace(projection_kernel=get("projection__kernel"))
    if cell.layer_norm is None:
        bias = reorder(get("bias"))
    else:
        bias, norm = normed(get, SCOPES)
        params = params._replace(norm=norm)
    return params._replace(bias=forget_open(bias, "ifgo", cell.forget_bias))


def normed(get, scopes):
    """The shifts of the gates, and the rest of their layer norms and of the memory's."""
    shifts = jnp.concatenate([get(f"{scope}__beta") for scope in scopes])
    gains = jnp.concatenate([get(f"{scope}__gamma") for scope in scopes])
    return shifts, LSTMNormParams(gains, get("state__gamma"), get("state__beta"))


def coupled(cell, get):
    """Columns are j, f, o; variables have names of their own."""

    def reorder(a):
        j, f, o = jnp.split(a, 3, axis=-1)
        return jnp.concatenate([f, j, o], axis=-1)

    kernel, norm = reorder(get("W_0")), None
    if cell.layer_norm is None:
        bias = reorder(get("B"))
    else:
        bias, norm = normed(get, SCOPES[1:])
    return LSTMParams(
        kernel[: -cell.output_size],
        kernel[-cell.output_size :],
        forget_open(bias, "fgo", cell.forget_bias),
        Peepholes(None, get("W_F_diag"), get("W_O_diag")) if cell.peepholes else Peepholes(),
        get("W_P_0") if cell.projection_size is not None else None,
        norm,
    )


def indy(cell, get):
    """The recurrent kernel is one row."""
    bias = forget_open(reorder(get("bias")), "ifgo", cell.forget_bias)
    return LSTMParams(reorder(get("kernel_w")), reorder(get("kernel_u"))[0], bias)


def grouped(cell, get):
    """Each group has a kernel, columns i, j, f, o; each gate a bias."""
    kernels = [reorder(get(f"group{n}__kernel")) for n in range(cell.groups)]
    # [groups, rows, gates, columns] to gates outside of groups
    kernel = jnp.stack(kernels).reshape(cell.groups, kernels[0].shape[0], 4, -1)
    kernel = jnp.moveaxis(kernel, 0, 2).reshape(kernels[0].shape[0], -1)
    rows = cell.output_size // cell.groups
    bias = jnp.concatenate([get(f"bias_{gate}") for gate in "ifjo"])
    params = LSTMParams(kernel[:-rows], kernel[-rows:], forget_open(bias, "ifgo", cell.forget_bias))
    if cell.projection_size is not None:
        params = params._replace(projection_kernel=get("projection__kernel"))
    return params


def weight_normed(cell, get):
    """``norm_0`` is of the input rows of the kernel and ``norm_1`` of the recurrent ones."""
    params = dense(cell.cell, get)
    gains = LSTMParams(reorder(get("cell__norm_0")), reorder(get("cell__norm_1")), None)
    if params.projection_kernel is not None:
        gains = gains._replace(projection_kernel=get("projection__norm_0"))
    return WeightNormParams(params, gains)


def simple(cell, params=dense, **options):
    """A case that is one call of `unroll`."""

    def run(inputs: Inputs):
        return run_unroll(cell, params(cell, variables(inputs)), inputs, **options)

    return Case(run)


def sharded(inputs: Inputs):
    """The kernel is stored in two parts, one over the other."""
    get, cell = variables(inputs), LSTM(4)
    kernel = jnp.concatenate([get("kernel__part_0"), get("kernel__part_1")])
    params = dense(cell, lambda name: kernel if name == "cell__kernel" else get(name))
    return run_unroll(cell, params, inputs)


def concatenated_state(inputs: Inputs):
    cell = LSTM(4)
    state = unflatten_state(cell, jnp.split(inputs["in.state.0"], [4], axis=-1))
    ys, leaves = run_unroll(cell, dense(cell, variables(inputs)), inputs, state=state)
    return ys, [jnp.concatenate(leaves, axis=-1)]


def block(cell, reorder=reorder):
    """The raw block op, which gives the memory of every step too; one step has no time axis."""

    def run(inputs: Inputs):
        units = cell.units
        kernel = reorder(inputs["in.w"])
        params = LSTMParams(
            kernel[:-units],
            kernel[-units:],
            forget_open(reorder(inputs["in.b"]), "ifgo", cell.forget_bias),
            Peepholes(*(inputs[f"in.wc{gate}"] for gate in "ifo"))
            if cell.peepholes
            else Peepholes(),
        )
        state = unflatten_state(cell, (inputs["in.cs_prev"], inputs["in.h_prev"]))
        xs = inputs["in.x"]
        if xs.ndim == 2:
            state, _ = cell.step(params, state, cell.project(params, xs))
            return {"cs": state.c, "h": state.h}, []

        def step(state, z):
            state, _ = cell.step(params, state, z)
            return state, state

        steps = int(inputs["in.seq_len_max"])
        _, states = jax.lax.scan(step, state, cell.project(params, xs[:steps]))
        pad = functools.partial(jnp.pad, pad_width=((0, len(xs) - steps), (0, 0), (0, 0)))
        return {"cs": pad(states.c), "h": pad(states.h)}, []

    return Case(run)


def block_v2(cell):
    """Columns in our order already, no forget bias; its gradient is not that of the operation."""
    return block(cell, reorder=lambda a: a)._replace(gradients=False)


def reversed_gru(inputs: Inputs):
    return run_unroll(GRU(4), gru_params(variables(inputs)), inputs, time_major=True, reverse=True)


PEEP = LSTM(4, peepholes=True)
FULL = {"peepholes": True, "cell_clip": 0.5, "projection_size": 3, "projection_clip": 0.3}
CLIP_3 = {"cell_clip": 3.0, "straight_through": True}
PEEP_CLIP = {"peepholes": True, "cell_clip": 0.3, "straight_through": True}

CASES = {
    "core_lstm": simple(LSTM(4)),
    "core_lstm_all_noclip": simple(LSTM(6, 0.7, peepholes=True, projection_size=4)),
    "core_lstm_cellclip": simple(LSTM(4, cell_clip=0.3)),
    "core_lstm_peep": simple(PEEP),
    "core_lstm_peep_static": simple(PEEP, method="static"),
    "core_lstm_proj": simple(LSTM(6, projection_size=4)),
    "core_lstm_shards2": Case(sharded),
    "core_lstm_state_not_tuple": Case(concatenated_state),
    "core_lstmblockcell_plain": block(LSTM(4)),
    "core_lstmblockcell_clip_default3": block(LSTM(4, **CLIP_3)),
    "core_blocklstm_plain": block(LSTM(4)),
    "core_blocklstm_clip_default3": block(LSTM(4, **CLIP_3)),
    "core_blocklstm_peep_clip": block(LSTM(4, **PEEP_CLIP)),
    "core_blocklstmv2_plain": block_v2(LSTM(4, 0.0)),
    "core_blocklstmv2_clip_default3": block_v2(LSTM(4, 0.0, **CLIP_3)),
    "core_blocklstmv2_peep_clip": block_v2(LSTM(4, 0.0, **PEEP_CLIP)),
    "contrib_cifg": simple(CoupledInputForgetGateLSTM(4), coupled),
    "contrib_cifg_peep": simple(CoupledInputForgetGateLSTM(4, peepholes=True), coupled),
    "contrib_fused_adaptor_dynamic": simple(LSTM(4), time_major=True),
    "contrib_fused_adaptor_static": simple(LSTM(4), time_major=True, method="static"),
    "contrib_fused_timereversed": Case(reversed_gru),
    "contrib_fused_timereversed_noseq": Case(reversed_gru),
    "contrib_glstm": simple(GLSTM(4, groups=2), grouped),
    "contrib_indylstm": simple(IndyLSTM(4), indy),
    "contrib_layernormlstm_ln": simple(LSTM(4, layer_norm=LayerNorm())),
    "contrib_layernormlstm_off_all": simple(LSTM(4, **FULL)),
    "contrib_lnbasiclstm": simple(LSTM(4, layer_norm=LayerNorm())),
    "contrib_lstmblockcell": simple(LSTM(4)),
    "contrib_lstmblockfused": simple(LSTM(4), time_major=True),
    "contrib_weightnormlstm_nonorm": simple(LSTM(4)),
    "contrib_weightnormlstm_plain": simple(WeightNorm(LSTM(4)), weight_normed),
}
