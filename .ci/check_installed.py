"""Check what an installed wheel brings: all its modules can be imported, and there is no more."""

import importlib
import importlib.metadata
import importlib.util
import pkgutil

import seqjax

for module in pkgutil.walk_packages(seqjax.__path__, "seqjax."):
    importlib.import_module(module.name)

files = [str(path) for path in importlib.metadata.files("seqjax") or ()]
assert "seqjax/py.typed" in files
assert all(name.startswith(("seqjax/", "seqjax-")) for name in files), files

for name in ("experiments", "benchmarks", "tests", "matplotlib", "sklearn", "tyro", "tensorflow"):
    assert importlib.util.find_spec(name) is None, f"{name} came with the wheel"
