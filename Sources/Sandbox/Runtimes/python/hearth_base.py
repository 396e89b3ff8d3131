"""The base: an initialised interpreter without anybody's code, from which the zygotes of all its versions are forked.

What every client needs is imported here, once, and shared by all of them. Orders are served in C (Sources/hearth-base), which
makes the sandbox; what comes back from there is a zygote inside, and it goes on as if it had been executed there.
"""

import ctypes
import gc
import os
import sys
import time

import hearth_worker
import hearth_zygote

_CONTROL = 3


class _Zygote(ctypes.Structure):
    _fields_ = [("environment", ctypes.c_void_p), ("bytes", ctypes.c_uint64), ("filter", ctypes.c_int32)]


def shown_environment():
    """Where the kernel reads what it shows as /proc/PID/environ (proc(5): env_start, env_end)."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    begin, end = int(fields[47]), int(fields[48])
    return begin, end - begin


def become(zygote):
    """Gives this process the environment that its version would have been executed with, and all that comes from it."""
    # Where the locale is not installed, the interpreter has put another here when it was initialised (PEP 538).
    locale = os.environ.get("LC_CTYPE")
    for name in list(os.environ):
        del os.environ[name]
    for line in ctypes.string_at(zygote.environment, zygote.bytes).split(b"\0")[:-1]:
        name, _, value = line.partition(b"=")
        if name not in os.environb:
            os.environb[name] = value
    if zygote.filter >= 0:
        os.environ["HEARTH_FILTER"] = str(zygote.filter)
    if locale is not None:
        os.environ.setdefault("LC_CTYPE", locale)
    time.tzset()
    sys.argv[:] = [os.environ["LAMBDA_RUNTIME_DIR"] + "/hearth_worker.py"]


def main():
    library = ctypes.PyDLL(sys.argv[1])
    zygote = _Zygote()
    begin, count = shown_environment()
    library.hearth_base_serve.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)
    library.hearth_base_serve.restype = None
    before, after = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Child
    before.restype = after.restype = None
    gc.collect()
    gc.freeze()
    before()
    library.hearth_base_serve(_CONTROL, begin, count, ctypes.byref(zygote))
    after()
    hearth_worker._started = time.monotonic_ns()
    become(zygote)
    hearth_worker.main()


if __name__ == "__main__":
    main()
