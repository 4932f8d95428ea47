"""One of the processes of tests/test_watch.py: exchanges data, or waits, until it is ended."""

import sys
import time

import jax
import numpy as np

from seqjax.hosts import Hosts, join, leave, runtime, stopping
from tests.checkpoint_worker import place


def main(seconds, how):
    join(Hosts(lost_after=float(seconds)))
    step = jax.jit(lambda x: x + x.mean())
    x = place(np.ones((6, 4), np.float32), "data")
    if how == "end":  # one waits for the other for longer than the time limit
        time.sleep(1.5 * float(seconds) * jax.process_index())
        return
    if how == "save":  # orbax asks process 0, also where a process saves alone
        if jax.process_index():  # the signal comes to it after the end of process 0
            runtime.wait_for("seqjax/watch/end", 60)
        stopping()
        time.sleep(2.0 * jax.process_index())
        runtime.put(f"saved/{jax.process_index()}", "")
        print(*(name for name, _ in runtime.entries("saved")), flush=True)
        leave(130)
    jax.block_until_ready(step(x))
    print("runs", flush=True)
    began = time.monotonic()
    while True:
        if how != "wait":
            x = jax.block_until_ready(step(x))
        if how == str(jax.process_index()) and time.monotonic() - began > 0.5:
            raise RuntimeError(f"an error at {time.time()}\nof two lines")
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
