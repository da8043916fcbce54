"""Scratch: large arrays in files beside an output, which go when the output is done."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geoembed.outputs import atomic, disk

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SMALL = 2**24
"""Bytes up to which an array is held in memory."""


class Scratch:
    """A place for arrays that may be larger than memory; a context, at whose end they are gone.

    What a killed process leaves, `atomic.sweep` of the output removes.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._stack = atomic.target(output), ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def array(self, shape: tuple[int, ...], dtype: Any, fill: float = 0.0) -> NDArray[Any]:
        """Return an array full of a number; raises OSError where the disk has no room for it."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size <= SMALL:
            return np.full(shape, fill, dtype)
        if self._folder is None:
            self._folder = self._stack.enter_context(atomic.private(self._output)).parent
        path = self._folder / secrets.token_hex(8)
        with disk.create(path) as file:
            disk.reserve(file, size)
            file.truncate(size)
        values: NDArray[Any] = np.memmap(path, dtype, "r+", shape=shape)
        if fill:
            values[:] = fill
        return values
