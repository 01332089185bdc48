"""What the core asks of numpy's binary interface."""

from __future__ import annotations

import subprocess
import sys

# A numpy whose table says that its interface has a version of tomorrow.
TOMORROW = """
import ctypes, sys, types, numpy
version = ctypes.CFUNCTYPE(ctypes.c_uint)(lambda: 0x3000000)
table = (ctypes.c_void_p * 300)(ctypes.cast(version, ctypes.c_void_p).value)
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
module = types.ModuleType("numpy._core._multiarray_umath")
module._ARRAY_API = new(ctypes.addressof(table), None, None)
from serving import _core
from serving.settings import Settings
server = _core.Server(Settings(http_port=0, grpc_port=0).core())
sys.modules[module.__name__] = module
try:
    server.figures().outcomes
except RuntimeError as error:
    print(error)
server.stop()
"""


def test_a_binary_interface_that_is_not_known_is_refused_in_words() -> None:
    told = subprocess.run(
        [sys.executable, "-c", TOMORROW], timeout=30, check=True, capture_output=True, text=True
    )
    assert told.stdout == (
        "numpy's binary interface has version 0x3000000;"
        " known are 0x1000009 (numpy 1) and 0x2000000 (numpy 2)\n"
    )
