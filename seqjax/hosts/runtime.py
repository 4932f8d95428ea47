"""What `jax.distributed` keeps private: its store of keys and values, and its connection.

All other modules reach the store through this one. Its functions may be called from any thread, in
contrast to collectives on devices, and raise ``ConnectionError`` when the store cannot be reached.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from seqjax.hosts.options import address_of
from seqjax.hosts.relay import Relay

# JAX is imported by the functions, because a command line shows its options without it

_relays: list[Relay] = []


def processes() -> int:
    """The number of processes; JAX is not started to find it."""
    import jax

    return _state().num_processes if jax.distributed.is_initialized() else 1


def process() -> int:
    """The number of this process."""
    return _state().process_id if processes() > 1 else 0


def put(key: str, value: str, replace: bool = False) -> None:
    """Store a value.

    Raises:
      ConnectionError: the store cannot be reached, or holds another value and ``replace`` is false.
    """
    with _named_errors():
        _client().key_value_set(key, value, replace)


def wait_for(key: str, seconds: float) -> str:
    """Return the value of a key as soon as there is one.

    Raises:
      TimeoutError: there is none within ``seconds``.
      ConnectionError: the store cannot be reached.
    """
    with _named_errors():
        value: str = _client().blocking_key_value_get(key, round(1000 * seconds))
        return value


def entries(folder: str) -> list[tuple[str, str]]:
    """The last part of each key that begins with ``folder/``, and its value."""
    with _named_errors():
        found = _client().key_value_dir_get(f"{folder}/")
        return [(key.rpartition("/")[-1], value) for key, value in found]


def delete(folder: str) -> None:
    """Delete a key, or all keys that begin with ``folder/``."""
    with _named_errors():
        _client().key_value_delete(folder)


@contextlib.contextmanager
def through_relay() -> Iterator[None]:
    """Let `jax.distributed.initialize` reach process 0 through a `Relay`."""
    from jaxlib import _jax

    connect = _jax.get_distributed_runtime_client

    def connect_to_relay(address: str, process: int, **options: Any) -> Any:
        if process:
            relay = Relay(*address_of(address))
            _relays.append(relay)
            address = relay.address
        return connect(address, process, **options)

    _jax.get_distributed_runtime_client = connect_to_relay
    try:
        yield
    finally:
        _jax.get_distributed_runtime_client = connect


def when_first_is_gone(act: Callable[[], None]) -> None:
    """Call ``act`` when process 0 closes its connection, if there is a relay."""
    for relay in _relays:
        relay.hold(act)


def _state() -> Any:
    from jax._src import distributed

    return distributed.global_state


def _client() -> Any:
    client = _state().client
    if client is None:
        raise ConnectionError("the processes have parted")
    return client


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        kind = TimeoutError if "DEADLINE_EXCEEDED" in str(error) else ConnectionError
        raise kind(reason) from None
