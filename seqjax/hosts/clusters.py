"""Which cluster started the processes of a program: what JAX finds its peers by."""

import importlib.util
from collections.abc import Mapping
from typing import Any, NamedTuple

# the variables that JAX asks of SLURM; those of a step are missing outside of srun
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
)


class Cluster(NamedTuple):
    """A cluster that started this process among others.

    Attributes:
      name: the name of the cluster.
      arguments: the arguments for ``jax.distributed.initialize``, which finds out the others.
    """

    name: str
    arguments: dict[str, Any]


def find(environment: Mapping[str, str]) -> Cluster | None:
    """Find the cluster that started several processes of this program.

    A shell, or a program with one task, within an allocation of SLURM runs alone. On Kubernetes,
    only the pods of an indexed Job belong together.

    Args:
      environment: the environment variables of this process.

    Returns:
      The cluster, or None if this process is alone.

    Raises:
      ValueError: several processes were started, but JAX lacks what it needs to find them.

    >>> step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "0"}
    >>> step |= {"SLURM_LOCALID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    >>> find(step).name
    'SLURM'
    >>> find(step | {"SLURM_STEP_NUM_TASKS": "1"}) is None  # a shell in an allocation for two
    True
    """
    # before SLURM, whose variables mpirun leaves to the processes that it starts in an allocation
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        if "OMPI_MCA_orte_hnp_uri" in environment:
            return Cluster("Open MPI", {"cluster_detection_method": "ompi"})
        _need(
            "mpi4py",
            "Open MPI started several processes, and since its version 5 JAX finds them by mpi4py",
            "pip install mpi4py",
        )
        return Cluster("Open MPI", {"cluster_detection_method": "mpi4py"})
    if all(name in environment for name in _SLURM):
        # SLURM_NTASKS may be that of the allocation
        tasks = int(environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"]))
        return Cluster("SLURM", {"num_processes": tasks}) if tasks > 1 else None
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        _need(
            "kubernetes",
            "this pod belongs to an indexed Job of Kubernetes, whose pods JAX finds by the package "
            "kubernetes",
            "pip install 'jax[k8s]'",
        )
        return Cluster("Kubernetes", {})
    # JAX skips the question when this host has no TPU chips
    if importlib.util.find_spec("libtpu") and "TPU_SKIP_MDS_QUERY" not in environment:
        return Cluster("TPU", {})
    return None


def _need(package: str, why: str, install: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"{why}; {install}, or give coordinator, processes and process, or processes 1 to run "
            "alone"
        )
