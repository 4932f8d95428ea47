"""Processes join, or each says in one line why they do not."""

import json
import os
import socket
import sys

import jax
import pytest

from seqjax.hosts import Hosts, check_agreement, clusters, gather, join
from seqjax.hosts.options import VARIABLES
from tests.processes import JOIN, Process, ends, free_port, results, together


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "processes must be a whole number of at least 1, got 0"),
        ({"process": -1}, "process must be a whole number of at least 0, got -1"),
        ({"coordinator": "a"}, "HOST:PORT with a port in [1, 65535], got 'a'"),
        ({"coordinator": "a:70000"}, "got 'a:70000'"),
        ({"coordinator": "a:1"}, "but processes and process are not given; give all three"),
        ({"processes": 2, "process": 1}, "but coordinator is not given; give all three"),
        ({"processes": 2}, "or processes 1 to run alone"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "process must lie in [0, 2), got 2"),
        ({"start_timeout": 0}, "start_timeout must be above 0"),
        ({"lost_after": -1}, "lost_after must be above 0"),
        ({"start_timeout": float("nan")}, "start_timeout must be"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match="Hosts: ") as error:
        Hosts(**options)
    assert message in str(error.value)


def test_the_variables_of_the_launcher_are_read():
    set_by_it = dict(zip(VARIABLES, ("a:1", "4", "3"), strict=True))
    assert Hosts.from_environment(set_by_it, 5.0) == Hosts("a:1", 4, 3, 5.0)
    assert Hosts.from_environment({}) == Hosts()
    with pytest.raises(ValueError, match="SEQJAX_PROCESSES and SEQJAX_PROCESS must be whole"):
        Hosts.from_environment({"SEQJAX_PROCESSES": "two"})


STEP = {
    "SLURM_JOB_ID": "4321",
    "SLURM_STEP_NODELIST": "127.0.0.1",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        (STEP, "SLURM"),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, None),  # a shell within an allocation for two
        ({name: STEP[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS")}, None),  # salloc
        (MPI | {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:1"}, "Open MPI"),
        (MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        (POD, None),
        ({"TPU_SKIP_MDS_QUERY": "1"}, None),
    ],
)
def test_the_cluster_that_started_several_processes_is_found(environment, name):
    found = clusters.find(environment)
    assert (found and found.name) == name


def test_what_jax_needs_to_find_the_others_is_named(monkeypatch):
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Open MPI started several .* pip install mpi4py, or"):
        clusters.find(MPI)
    pod = POD | {"JOB_COMPLETION_INDEX": "0"}
    with pytest.raises(ValueError, match=r"indexed Job .* pip install 'jax\[k8s\]', or give coord"):
        clusters.find(pod)
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: object())
    assert clusters.find(MPI).arguments == {"cluster_detection_method": "mpi4py"}
    assert clusters.find(pod).name == "Kubernetes"
    assert clusters.find({}).name == "TPU"


def test_one_process_runs_alone(monkeypatch):
    join()
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    join(Hosts(processes=1))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    join()
    assert not jax.distributed.is_initialized()
    assert gather([0.1, None]) == [[0.1, None]]
    check_agreement({"a": 1})
    with pytest.raises(ValueError, match="value must be JSON data"):
        gather(jax)
    with pytest.raises(ValueError, match=r"hosts must be a seqjax\.hosts\.Hosts"):
        join("host:1")


def test_a_tpu_of_one_host_runs_alone(monkeypatch):
    def initialize(**arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(clusters, "find", lambda environment: clusters.Cluster("TPU", {}))
    join()
    monkeypatch.setattr(clusters, "find", lambda environment: clusters.Cluster("SLURM", {}))
    with pytest.raises(ValueError, match="JAX cannot join the processes: coordinator_address"):
        join()


def check_errors(cases):
    program = JOIN + "start(*json.loads(sys.argv[1]))"
    found = ends([Process("-c", program, json.dumps(arguments)) for arguments, _ in cases])
    for (_, message), (code, out, error) in zip(cases, found, strict=True):
        assert (code, out) == (2, ""), error
        assert message in error
        assert error.count("\n") == 1


def test_what_keeps_processes_from_joining_is_one_line_each():
    with socket.create_server(("", 0)) as used:
        taken, lonely, empty = used.getsockname()[1], free_port(), free_port()
        check_errors([
            ((f"127.0.0.1:{lonely}", 2, 0, 2), f"1 of 2 processes came to 127.0.0.1:{lonely} "
             "within 2 s; start all processes with the same"),
            ((f"127.0.0.1:{empty}", 2, 1, 0.5), f"process 1 cannot reach process 0 at "
             f"127.0.0.1:{empty} within 0.5 s (Connection refused); start process 0"),
            (("nowhere.invalid:1", 2, 0, 0.5), "the host nowhere.invalid of the coordinator"),
            (("nowhere.invalid:1", 2, 1, 0.5), "give the name or address of the host of process 0"),
            ((f"127.0.0.1:{taken}", 2, 0, 9), f"process 0 cannot listen at the port {taken} of "
             f"127.0.0.1:{taken} (Address already in use); choose another port"),
        ])  # fmt: skip


@pytest.mark.slow
def test_when_some_do_not_come_those_who_came_are_counted():
    crowded, waiting = free_port(), free_port()
    check_errors([
        ((f"127.0.0.1:{crowded}", 3, 0, 5), "2 of 3 processes came"),
        ((f"127.0.0.1:{crowded}", 3, 1, 9), "process 1 cannot reach process 0"),  # it has ended
        ((f"127.0.0.1:{waiting}", 3, 0, 9), "of 3 processes came"),
        ((f"127.0.0.1:{waiting}", 3, 1, 5), f"process 0 listens at 127.0.0.1:{waiting}, but "
         "not all 3 processes came within 5 s"),
    ])  # fmt: skip


ALL = (
    JOIN
    + """
start(config={"--units": 8})
import time, jax
from experiments.errors import StoppedError
from experiments.processes import ALL, ALONE, Meeting
from seqjax.devices import data_mesh
from experiments.stop import Stop
process = jax.process_index()
long = "x" * 1000 * process
for wait in (0.3, 0):
    began = time.monotonic()
    time.sleep(wait * process)
    await_all()
    assert time.monotonic() - began >= wait
assert gather([0.1 + process, long]) == [[0.1, ""], [1.1, "x" * 1000]], gather([long])
assert ALL.by_first(lambda: ["a", process]) == ["a", 0]
def fail(): raise OSError("disk full")
try: ALL.together(fail if process else lambda: None)
except OSError as error: print(error)
try: data_mesh(3)
except ValueError as error: print(error)
assert data_mesh(6).size == 2
if process:  # what process 0 does not do
    assert ALONE.is_first and ALONE.by_first(lambda: process) == 1
    assert Meeting(ALONE, Stop()).exchange(seconds=0.5) == [{"stop": None, "seconds": 0.5}]
    assert data_mesh(3, alone=True).devices.tolist() == jax.local_devices()
try: check_agreement({"text": process})
except ValueError as error: print(error)
stop = Stop()
meeting = Meeting(ALL, stop)
assert meeting.by_first(lambda watch: sum(watch(range(3)))) == 3
if process: stop.request("SIGTERM")
try: meeting.by_first(lambda watch: [*watch(range(100))])
except StoppedError as error: print(error)
print(jax.device_count())
"""
)


def test_processes_exchange_values_errors_and_agree():
    found = ends(together("-c", ALL, processes=2))
    for process, (code, out, error) in enumerate(found):
        assert (code, error) == (0, "")
        lines = out.splitlines()
        assert lines[0] == ("process 1: disk full", "disk full")[process]
        assert lines[1].startswith("the 3 rows of a batch cannot be split between 2 processes")
        assert lines[2].startswith("process 1 has text 1, but process 0 has 0; start all")
        assert lines[3:] == ["SIGTERM in process 1", "2"]


DIFFERS = (
    JOIN
    + """
import seqjax.hosts.start as module
kind, process = sys.argv[1], int(sys.argv[2])
if process and kind == "version":
    known = module.version
    module.version = lambda name: "0.9.9" if name == "jaxlib" else known(name)
start(config={"--units": 16 if process and kind == "config" else 8})
"""
)


@pytest.mark.slow
def test_a_process_that_differs_is_named():
    runs = []
    for kind in ("version", "config"):
        runs += together("-c", DIFFERS, kind, processes=2, own=lambda n: (n,))
    version, _, config, other = ends(runs)  # JAX would wait for minutes at exit
    assert version[0] == config[0] == other[0] == 2
    assert "process 1 has jaxlib 0.9.9, but process 0 has" in version[2]
    assert "process 1 has --units 16, but process 0 has 8; start all processes" in config[2]
    assert other[2] == config[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slurm", "ompi"])
def test_jax_finds_the_processes_of_a_cluster(name):
    program = JOIN + "start(); import jax; print(gather(jax.process_index()))"
    job = os.getpid() % 2**12
    if name == "slurm":
        variables = [STEP | {"SLURM_JOB_ID": str(job), "SLURM_PROCID": str(n)} for n in range(2)]
    else:
        uri = {"OMPI_MCA_orte_hnp_uri": f"{job * 2**12}.0;tcp://127.0.0.1:1"}
        variables = [MPI | uri | {"OMPI_COMM_WORLD_RANK": str(n)} for n in range(2)]
    assert results([Process("-c", program, **more) for more in variables]) == [[0, 1]] * 2
