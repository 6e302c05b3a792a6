"""What training frameworks leave in a checkpoint beside the tensors, made harmless."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import torch


class Inert:
    """Stands in for any object of a file: takes whatever it is given and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Ignore the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


_NAMES = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.config.config.ConfigDict",
    "mmengine.config.config.Config",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32", "Bool")),
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "argparse.Namespace",
)
"""Objects of optimizers, loggers and configurations that DiffEngine and others save along."""


_ONE_AT_A_TIME = Lock()


def inert_leftovers() -> AbstractContextManager[None]:
    """Let torch's safe unpickler pass over such objects: none is imported, made or called.

    A torch before 2.6 cannot; there, files that hold them are refused.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        return nullcontext()
    return _inert_alone()


@contextmanager
def _inert_alone() -> Iterator[None]:
    """Allow the stand-ins, and nothing else that the process allows.

    ComfyUI allows some of numpy's own under the same names, and which of two torch takes is chance.
    """
    serialization = torch.serialization
    with _ONE_AT_A_TIME:
        others = serialization.get_safe_globals()
        serialization.clear_safe_globals()
        try:
            with serialization.safe_globals([(Inert, name) for name in _NAMES]):
                yield
        finally:
            serialization.add_safe_globals(others)
