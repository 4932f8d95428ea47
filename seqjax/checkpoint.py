"""Checkpoints: everything that a run is, kept whole through a kill at any moment."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from seqjax.types import PyTree

_LOSS = "loss"


class Restored(NamedTuple):
    """What `Checkpoints.restore` gives."""

    state: PyTree  # in the structure of ``like``
    about: dict[str, Any]  # as it was given to `Checkpoints.save`
    step: int


class Checkpoints:
    """The last and the best checkpoint of a run, kept by orbax in one folder.

    A checkpoint is written under a temporary name and renamed when it is whole, so what is found
    is whole; what was killed half-way is never taken for one, and what was there before stays. It
    holds arrays and JSON alone, and loading it runs no code from it.

    Args:
      folder: where they are, or will be.

    >>> import tempfile
    >>> with Checkpoints(Path(tempfile.mkdtemp())) as checkpoints:
    ...     checkpoints.save(3, {"w": np.ones(2, "float32")}, {"units": 4}, loss=0.5)
    ...     restored = checkpoints.restore({"w": np.zeros(2, "float32")})
    >>> print(restored.state["w"], restored.about, restored.step)
    [1. 1.] {'units': 4} 3
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        policy = AnyPreservationPolicy(
            [LatestN(1), BestN(n=1, get_metric_fn=lambda metrics: -metrics[_LOSS])]
        )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda metrics: metrics[_LOSS],
                best_mode="min",
                enable_async_checkpointing=False,
            ),
        )

    def __enter__(self) -> Self:
        """Use it in a ``with`` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the folder."""
        self._manager.close()

    def save(self, step: int, state: PyTree, about: dict[str, Any], loss: float) -> None:
        """Write a checkpoint; older ones go, but for the best.

        Args:
          step: by which it is known; a step that was saved already is left as it is.
          state: a pytree of arrays; keys from `jax.random.key` as well.
          about: anything that JSON can say, such as the config.
          loss: by which the best is found.

        Raises:
          OSError: it cannot be written, as when the disk is full; what was there stays.
        """
        if step in self._manager.all_steps():
            return
        state = _plain(state)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            about=ocp.args.JsonSave({"about": about, "arrays": _arrays(state)}),
        )
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        where = f"the checkpoint of step {step} cannot be written to {self.folder}"
        if free < needed:  # half-way orbax would leave several threads behind, each with a trace
            raise OSError(f"{where}: it has {needed:,} bytes, and {free:,} are free; make room")
        try:
            self._manager.save(step, args=args, metrics={_LOSS: float(loss)})
            self._manager.wait_until_finished()
        except Exception as error:  # orbax and its storage raise many kinds
            raise OSError(f"{where}; earlier ones are whole ({_reason(error)})") from error

    def steps(self) -> dict[str, int]:
        """The steps of the checkpoints there are, as ``last`` and ``best``; empty without any."""
        last, best = self._manager.latest_step(), self._manager.best_step()
        return {} if last is None or best is None else {"last": last, "best": best}

    def about(self, which: str = "last") -> dict[str, Any]:
        """What was said about a checkpoint, without its arrays.

        Raises:
          ValueError: there is no checkpoint, or it cannot be read.
        """
        return self._header(which)["about"]

    def restore(self, like: PyTree, which: str = "last") -> Restored:
        """Read a checkpoint back, bit for bit.

        Args:
          like: a pytree of arrays, or of `jax.ShapeDtypeStruct`, of the structure that was saved.
          which: ``"last"`` or ``"best"``.

        Raises:
          ValueError: there is no checkpoint, it is damaged, or it is of another structure.
        """
        header = self._header(which)
        template = jax.tree.map(_template, _plain(like))
        wanted, held = _arrays(template), header["arrays"]
        for name in [*wanted, *held]:
            if wanted.get(name) != held.get(name):
                raise ValueError(
                    f"the {which} checkpoint in {self.folder} is of another structure: of {name} "
                    f"it holds {held.get(name, 'nothing')}, and what was asked for has "
                    f"{wanted.get(name, 'nothing')}"
                )
        state = self._read(which, state=ocp.args.StandardRestore(template)).state
        return Restored(_with_keys(like, state), header["about"], self.steps()[which])

    def _header(self, which: str) -> dict[str, Any]:
        header: dict[str, Any] = self._read(which, about=ocp.args.JsonRestore()).about
        if not {"about", "arrays"} <= {*header}:
            raise ValueError(f"the {which} checkpoint in {self.folder} was not made by seqjax")
        return header

    def _read(self, which: str, **args: Any) -> Any:
        steps = self.steps()
        if which not in steps:
            raise ValueError(f"{self.folder} holds no checkpoint; was this folder made by a run?")
        try:
            return self._manager.restore(steps[which], args=ocp.args.Composite(**args))
        except Exception as error:  # orbax and its storage raise many kinds
            raise ValueError(
                f"the {which} checkpoint in {self.folder} cannot be read: it is damaged, or was "
                f"made by another program ({_reason(error)})"
            ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][-200:]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _plain(tree: PyTree) -> PyTree:
    """The tree with keys as plain arrays."""

    def one(leaf: Any) -> Any:
        if not _is_key(leaf):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.eval_shape(jax.random.key_data, leaf)
        return jax.random.key_data(leaf)

    return jax.tree.map(one, tree)


def _arrays(tree: PyTree) -> dict[str, str]:
    """What arrays there are, by name."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(np.shape(leaf))}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _template(leaf: Any) -> jax.ShapeDtypeStruct:
    # where nothing says otherwise, on one device: those that it was saved from may not be here
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding)


def _with_keys(like: PyTree, tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda want, have: jax.random.wrap_key_data(have) if _is_key(want) else have, like, tree
    )
