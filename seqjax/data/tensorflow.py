"""TensorFlow, which only this module imports, on first use, with all GPUs hidden from it."""

import contextlib
import functools
import os
from typing import Any


@functools.cache
def tensorflow_without_gpus() -> Any:
    """Import TensorFlow and hide the GPUs from it; it would allocate all of their memory.

    Raises:
      ImportError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # it logs to stderr otherwise
    try:
        import tensorflow
    except ImportError:
        raise ImportError(
            "reading records needs tensorflow: pip install 'seqjax[records]'"
        ) from None
    with contextlib.suppress(RuntimeError):  # the user's program has started TensorFlow already
        tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow
