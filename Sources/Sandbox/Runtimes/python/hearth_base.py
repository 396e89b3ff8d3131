"""The base: an initialised interpreter without anybody's code, from which the zygotes of all its versions are forked.

What every client needs is imported here, once, and shared by all of them. Orders are served in C (Sources/hearth-base), which
makes the sandbox; what comes back from there is a zygote inside, and it goes on as if it had been executed there.
"""

import ctypes
import gc
import importlib
import os
import posix
import sys
import time

import hearth_imports
import hearth_worker
import hearth_zygote

_CONTROL = 3
_ZONE = os.environb.get(b"TZ")


class _Order(ctypes.Structure):
    _fields_ = [("environment", ctypes.c_void_p), ("bytes", ctypes.c_uint64), ("filter", ctypes.c_int32)]


def shown_environment():
    """Where the kernel reads what it shows as /proc/PID/environ (proc(5): env_start, env_end)."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    begin, end = int(fields[47]), int(fields[48])
    return begin, end - begin


def become(order, environment):
    """Gives the interpreter the environment that its version would have been executed with; C has given it to the library."""
    # Where the locale is not installed, the interpreter has put another here when it was initialised (PEP 538).
    locale = environment.get(b"LC_CTYPE")
    environment.clear()
    for line in ctypes.string_at(order.environment, order.bytes).split(b"\0"):
        name, _, value = line.partition(b"=")
        environment.setdefault(name, value)
    del environment[b""]
    if locale is not None:
        environment.setdefault(b"LC_CTYPE", locale)
        posix.putenv(b"LC_CTYPE", locale)
    if order.filter >= 0:
        environment[b"HEARTH_FILTER"] = b"%d" % order.filter
    if environment.get(b"TZ") != _ZONE:
        time.tzset()


def warm_up(environment):
    """Runs what every zygote runs, so that it finds the interpreter's caches filled and this code specialised.

    A zygote has a page of its own for each that it writes to, and CPython writes to code that runs for the first times.
    """
    # Small ones that leave nothing behind.
    names = "colorsys", "getopt", "graphlib", "heapq", "linecache", "numbers", "opcode", "shlex", "string", "textwrap"
    known = set(sys.modules)
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    # A function may have a module of that name.
    for name in set(sys.modules) - known:
        del sys.modules[name]
    lines = b"".join(name + b"=" + value + b"\0" for name, value in environment.items())
    own = ctypes.create_string_buffer(lines, len(lines))
    for _ in range(20):
        become(_Order(ctypes.addressof(own), len(lines), -1), environment)


def main():
    library = ctypes.PyDLL(sys.argv[1])
    serve = library.hearth_base_serve
    serve.argtypes = ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p
    serve.restype = None
    order = _Order()
    room = shown_environment()
    # The mapping below os.environ: it has what the process has, and setting through it would set in C once more.
    environment = os.environ._data
    hearth_worker.prepare()
    zygote = hearth_zygote.Zygote(hearth_imports.after_import)
    warm_up(environment)
    hearth_zygote.rehearse(zygote.randomness)
    zygote.is_rehearsed = True
    sys.argv[:] = ["/var/runtime/hearth_worker.py"]
    gc.collect()
    gc.freeze()
    serve(_CONTROL, *room, ctypes.byref(order))
    hearth_worker._started = time.monotonic_ns()
    become(order, environment)
    hearth_worker.run_zygote(zygote, hearth_zygote.Hooks, writes_bytecode=False)


if __name__ == "__main__":
    main()
