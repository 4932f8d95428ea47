"""The command ``npz``."""

import numpy as np

from seqjax.data.records import RecordSource
from tests.data.convert.examples import read, run


def test_rows_of_arrays_become_sequences(tmp_path, fails):
    source = tmp_path / "arrays.npz"
    xs = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    np.savez(source, xs=xs, y=np.array([0.5, 1.5]), n=np.array([3, 1]), long=np.array([3, 4]))
    arguments = ["npz", source, tmp_path / "out", "--sequence", "xs", "--context", "y"]
    assert run(*arguments, "--lengths", "n") == 0
    out = tmp_path / "out"
    assert str(RecordSource(out).schema.sequence["xs"]) == "int32[4]"
    expected = [{"y": 0.5, "xs": xs[0].tolist()}, {"y": 1.5, "xs": xs[1, :1].tolist()}]
    assert read(out) == expected
    assert run(*arguments) == 0
    assert read(out)[1]["xs"] == xs[1].tolist()
    fails("'long' must be integers [N] in [0, 3]", *arguments, "--lengths", "long")
    fails("zs is not a file in the archive", *arguments, "--context", "zs")
    fails("'y' must be [N, T, ...], got (2,)", "npz", source, out, "--sequence", "y")
    np.savez(source, xs=xs, y=np.zeros(3))
    fails("must have N rows each", *arguments)
    np.savez(source, xs=xs.astype(complex), y=np.zeros(2))
    fails("'xs': a feature's dtype must be", *arguments)
    source.write_bytes(b"no zip")
    fails("cannot be read as .npz", *arguments)
    np.savez(source, xs=xs, y=np.float32(1))
    fails(f"{source}: 'y' must be [N, ...], got ()", *arguments)
    np.savez(source, xs=xs, zs=np.zeros((2, 5)))
    fails("must have T steps each, got {'xs': (2, 3, 4), 'zs': (2, 5)}", *arguments[:3],
          "--sequence", "xs", "zs")  # fmt: skip
    np.savez(source, xs=np.full((2, 3), 1e300), y=np.zeros(2))
    fails(f"{source}, row 0: 'xs'", *arguments)
    np.savez_compressed(source, xs=np.zeros((2, 10**6)), y=np.zeros(2))
    fails("decompresses to 16,000,", *arguments, "--max-decompressed-bytes", 10**6)
    assert read(out)[1]["xs"] == xs[1].tolist()


def test_a_damaged_npz_file_is_named(tmp_path, fails, capsys):
    source, out, rng = tmp_path / "arrays.npz", tmp_path / "out", np.random.default_rng(0)
    for save in (np.savez, np.savez_compressed):
        save(source, xs=np.arange(24).reshape(2, 12), y=np.array([0.5, 1.5]))
        content = source.read_bytes()
        for k in range(150):
            changed = bytearray(content)
            changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            source.write_bytes(changed if k % 3 else content[: rng.integers(len(content))])
            if run("npz", source, out, "--sequence", "xs", "--context", "y"):
                assert f"error: {source}" in capsys.readouterr().err
    np.save(tmp_path / "array.npy", np.zeros(3))
    fails("cannot be read as .npz: File is not", "npz", tmp_path / "array.npy", out, "--sequence",
          "xs")  # fmt: skip
