"""Reads the text of the package jsonpickle as data: nothing is imported, called or built but numbers and arrays.

The field's data sets on the Hugging Face hub hold each info as such text. In it `py/reduce` names a function and its
arguments, which jsonpickle would call. Here NumPy scalars and arrays of numbers, tuples, sets, bytes, and references to
what came before are understood; everything else stays the dictionary that it is in the file.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

_SCALAR = {"numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"}
_ARRAY = {"numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct"}


def loads(text: str) -> Any:
    """What the text says.

    Raises:
        ValueError: if it is not JSON.
    """
    data = json.loads(text)
    return _Reader().read(data) if '"py/' in text else data


class _Reader:
    """Walks the text in the order in which jsonpickle numbered its objects."""

    def __init__(self) -> None:
        self._objects: list[Any] = []
        self._numbered = True  # until something comes whose objects cannot be counted

    def read(self, data: Any) -> Any:
        if isinstance(data, list):
            made: list[Any] = []
            self._objects.append(made)
            made.extend(self.read(item) for item in data)
            return made
        if not isinstance(data, dict):
            return data
        tag = next((key for key in data if key.startswith("py/")), None)
        if tag is None:
            plain: dict[str, Any] = {}
            self._objects.append(plain)
            plain.update((key, self.read(value)) for key, value in data.items())
            return plain
        try:
            return self._tagged(tag, data)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            self._numbered = False
            return data

    def _tagged(self, tag: str, data: dict[str, Any]) -> Any:
        if len(data) != 1:
            raise ValueError
        value = data[tag]
        if tag == "py/tuple":
            return tuple(self.read(item) for item in value)
        if tag == "py/set":
            return {self.read(item) for item in value}
        if tag == "py/b64":
            return base64.b64decode(value, validate=True)
        if tag == "py/id":
            if not self._numbered:
                return data
            return self._objects[value]
        if tag == "py/reduce":
            return self._reduced(value)
        raise ValueError

    def _reduced(self, parts: list[Any]) -> Any:
        place = len(self._objects)
        self._objects.append(None)
        function, arguments = parts[0], parts[1]["py/tuple"]
        if function == {"py/type": "numpy.dtype"}:
            made: Any = self._dtype(arguments[0], parts[2]["py/tuple"][1])
        elif function.get("py/function") in _SCALAR:
            dtype, raw = self._dtype_at(arguments[0]), self.read(arguments[1])
            if len(raw) != dtype.itemsize:
                raise ValueError
            made = np.frombuffer(raw, dtype)[0]
        elif function.get("py/function") in _ARRAY and arguments[0] == {"py/type": "numpy.ndarray"}:
            _, shape, dtype_data, fortran, raw_data = parts[2]["py/tuple"]
            dtype, raw = self._dtype_at(dtype_data), self.read(raw_data)
            extents = shape["py/tuple"]
            made = np.frombuffer(raw, dtype).reshape(extents, order="F" if fortran else "C").copy()
        else:
            raise ValueError
        self._objects[place] = made
        return made

    def _dtype_at(self, data: Any) -> np.dtype:
        dtype = self.read(data)
        if not isinstance(dtype, np.dtype):
            raise TypeError
        return dtype

    def _dtype(self, name: str, order: str) -> np.dtype:
        dtype = np.dtype(str(name))
        if dtype.kind not in "biufU":
            raise ValueError
        return dtype.newbyteorder("<") if order == "<" else dtype.newbyteorder(">") if order == ">" else dtype
