"""The processes of one program on many hosts, which join through the runtime of JAX.

Each process runs the same program, and calls `join` before its first array::

    from seqjax.hosts import Hosts, join

    join(Hosts("host0:8476", processes=2, process=1), config={"units": 64})

Then `jax.devices` lists the devices of all processes, and `seqjax.devices.data_mesh` spans them.
``join()`` without options reads the variables that ``python -m seqjax.launch --processes N`` sets,
or asks the cluster. Without either, the process runs alone. When a process is lost, `watch` ends
the others with a line that names it.
"""

from seqjax.hosts.agreement import await_all, check_agreement, gather
from seqjax.hosts.options import Hosts
from seqjax.hosts.start import join, leave
from seqjax.hosts.watch import await_loss, stopping, watch

__all__ = [
    "Hosts",
    "await_all",
    "await_loss",
    "check_agreement",
    "gather",
    "join",
    "leave",
    "stopping",
    "watch",
]
