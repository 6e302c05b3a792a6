"""What training frameworks leave in a checkpoint beside the tensors, made harmless."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
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


def inert_leftovers() -> AbstractContextManager[None]:
    """Let torch's safe unpickler pass over such objects: none is imported, made or called.

    A torch before 2.6 cannot; there, files that hold them are refused.
    """
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        return nullcontext()
    allowed: AbstractContextManager[None] = torch.serialization.safe_globals(
        [(Inert, name) for name in _NAMES]
    )
    return allowed
