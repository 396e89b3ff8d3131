"""The zygote: an initialised process from which the workers of one version are forked.

The handler has been imported. What is left is to say so on descriptor 3 (a SOCK_SEQPACKET socket) and to fork whenever
the server asks. Datagrams to the server are one byte for the kind and the rest, little-endian:

    1 ready    u64 ns at the first line, u64 at import's begin, u64 at its end, u32 peak KiB
    2 failed   JSON error of the init; the process exits
    3 refuses  why this process cannot be forked, as text; the process exits
    4 forked   u32 tag, with the child's pidfd
    5 exited   u32 tag, i32 wait status
    6 unforked u32 tag, i32 errno

and from the server: u32 tag, u8 1 if provisioned, u16 length of the log stream's name, the name, and, for a client of the
Runtime API, the address of the child's own API; with the child's input and output (not for the Runtime API) and its log.
"""

import _signal
import _socket
import array
import gc
import os
import struct
import sys
import time

READY, FAILED, REFUSES, FORKED, EXITED, UNFORKED = 1, 2, 3, 4, 5, 6
_CONTROL = 3
_DATAGRAM_MAX = 64 * 1024


class Randomness:
    """Generators that seeded themselves before the fork: each child seeds them anew.

    The module's own generator is among them; those with a seed of their user's are left alone.
    """

    def __init__(self, after_import):
        self.seeded = []
        self.numpy_generators = []
        self.is_renewed = False
        after_import("random", self.watch_random)
        after_import("numpy.random", self.watch_numpy)

    def watch_random(self, module):
        import weakref

        original = module.Random.__init__
        seeded = self.seeded

        def init(generator, x=None):
            original(generator, x)
            if x is None and not self.is_renewed:
                seeded.append(weakref.ref(generator))

        module.Random.__init__ = init

    def watch_numpy(self, module):
        original = module.default_rng

        def default_rng(seed=None):
            generator = original(seed)
            if seed is None and not self.is_renewed:
                # (They take no weak references.)
                self.numpy_generators.append(generator)
            return generator

        module.default_rng = default_rng

    def renew(self):
        """Called in each child. The module's own generator has been seeded again by the module itself (os.fork)."""
        for reference in self.seeded:
            generator = reference()
            if generator is not None:
                generator.seed()
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed()
            for generator in self.numpy_generators:
                own = generator.bit_generator
                own.state = type(own)().state
        ssl = sys.modules.get("_ssl")
        # Later ones see by themselves that they were forked (RAND(7)), and seed when they are needed, not before.
        if ssl is not None and ssl.OPENSSL_VERSION_INFO < (1, 1, 1):
            ssl.RAND_add(os.urandom(32), 32.0)
        uuid = sys.modules.get("uuid")
        if uuid is not None:
            # Two children in the same tick must not give out the same version 1 UUID.
            uuid._last_timestamp = None
            uuid._node = None
            uuid._generate_time_safe = None
            uuid.getnode = lambda: int.from_bytes(os.urandom(6), "big") | 1 << 40


class Hooks:
    """Functions that the package `snapshot_restore_py` has been given to run around a snapshot."""

    def __init__(self, runs=True):
        """`runs`: False where the client runs the hooks itself."""
        module = sys.modules.get("snapshot_restore_py")
        self.before = list(module.get_before_snapshot()) if module else []
        self.after = list(module.get_after_restore()) if module else []
        self.runs = runs

    def __bool__(self):
        return bool(self.before or self.after)

    def run_before(self):
        # Last registered, first run.
        while self.runs and self.before:
            function, args, kwargs = self.before.pop()
            function(*args, **kwargs)

    def run_after(self):
        for function, args, kwargs in self.after:
            function(*args, **kwargs)


class Control:
    def __init__(self):
        # The module `socket` would cost every start 4 ms.
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, _CONTROL)

    def send(self, kind, body=b"", descriptors=()):
        ancillary = []
        if descriptors:
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.socket.sendmsg([bytes((kind,)), body], ancillary)

    def receive(self):
        """The next order and its descriptors; an empty one when the server is gone."""
        space = _socket.CMSG_SPACE(3 * 4)
        data, ancillary, _, _ = self.socket.recvmsg(1024, space, _socket.MSG_CMSG_CLOEXEC)
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) // 4 * 4])
        return data, descriptors

    def fail(self, error):
        self.send(FAILED, error[:_DATAGRAM_MAX])


class Sandbox:
    """What a worker shuts behind itself after the fork: its own /tmp, then the system calls that had to make it.

    The sandbox's first process has made the rest and passes the system-call filter as a file. All that the calls need is made
    before the fork, what does not depend on the version even before the base forks its zygote; and one that changes nothing
    is made too, so that a worker pays for the calls alone.
    """

    NEW_USER, NEW_NS = 0x10000000, 0x00020000
    SET_SECUREBITS, GET_SECCOMP, SET_SECCOMP, FILTER = 28, 21, 22, 2
    NO_ROOT = 0b11  # SECBIT_NOROOT and its lock
    PROCESSES_MAX = 1024  # Lambda's own figure
    FILTER_MAX = 4096
    SHARED = b"mode=1777,size=64m,nr_inodes=16k"

    def __init__(self):
        import ctypes
        import resource

        libc = ctypes.CDLL(None, use_errno=True)
        self.unshare, self.mount, self.prctl, self.capset = libc.unshare, libc.mount, libc.prctl, libc.capset
        self.get_errno = ctypes.get_errno

        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

        self.program = Program()
        self.program_address = ctypes.byref(self.program)
        # capset(2): version 3, this process; two empty sets.
        self.header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        self.none = (ctypes.c_uint32 * 6)()
        self.get_limit, self.set_limit, self.process_limit = resource.getrlimit, resource.setrlimit, resource.RLIMIT_NPROC
        self.infinity = resource.RLIM_INFINITY
        self.prctl(self.GET_SECCOMP, 0, 0, 0, 0)

    def read(self, environment):
        """Takes what the sandbox's first process has left for the workers; false where there is no sandbox."""
        self.tmp = environment.pop("HEARTH_TMP", "").encode()
        number = int(environment.pop("HEARTH_FILTER", "-1"))
        if number < 0:
            return False
        text = os.pread(number, self.FILTER_MAX, 0)
        os.close(number)
        self.program.length, self.program.instructions = len(text) // 8, text
        uid, gid = os.getuid(), os.getgid()
        self.maps = [
            ("/proc/self/setgroups", b"deny"),
            ("/proc/self/uid_map", f"{uid} {uid} 1".encode()),
            ("/proc/self/gid_map", f"{gid} {gid} 1".encode()),
        ]
        # What is stricter already cannot be loosened.
        most = self.get_limit(self.process_limit)[1]
        self.processes = self.PROCESSES_MAX if most == self.infinity else min(self.PROCESSES_MAX, most)
        return True

    def check(self, result, what):
        if result != 0:
            error = self.get_errno()
            raise OSError(error, f"cannot {what}: {os.strerror(error)}")

    def enter(self):
        # Where user namespaces are forbidden the workers of a version share the zygote's /tmp: `hearth doctor` says so.
        if self.unshare(self.NEW_USER | self.NEW_NS) == 0:
            for path, text in self.maps:
                file = os.open(path, os.O_WRONLY)
                os.write(file, text)
                os.close(file)
            self.check(self.mount(b"tmpfs", b"/tmp", b"tmpfs", 6, self.tmp), "mount /tmp")
            self.check(self.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 6, self.SHARED), "mount /dev/shm")
            self.check(self.prctl(self.SET_SECUREBITS, self.NO_ROOT, 0, 0, 0), "set the secure bits")
            self.check(self.capset(self.header, self.none), "give up capabilities")
        self.set_limit(self.process_limit, (self.processes, self.processes))
        self.check(self.prctl(self.SET_SECCOMP, self.FILTER, self.program_address, 0, 0), "filter system calls")


def reason_against(hooks):
    """Why a fork of this process would not be a whole worker, or nothing."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        return f"its init left {threads} threads, and a fork keeps only one"
    if not hasattr(os, "pidfd_open"):
        return "Python before 3.9 has no pidfd_open"
    sockets = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) != _CONTROL and os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                sockets += 1
        except OSError:
            pass
    if sockets and not hooks:
        return (
            f"its init left {sockets} open socket{'s' if sockets > 1 else ''} that all workers would share: "
            "open them at the first invocation, or register hooks with snapshot_restore_py"
        )
    return None


def set_scheduling(policy):
    """A zygote is SCHED_BATCH, its workers are ordinary again.

    Woken by an order on the processor of the server's loop, it would take that from it for as long as a fork takes, a
    millisecond. A batch process takes it from nobody (sched(7)).
    """
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        pass


class Zygote:
    """All that a zygote needs beside the function; a base makes it before its zygotes are."""

    is_rehearsed = False

    def __init__(self, after_import):
        self.control = Control()
        self.randomness = Randomness(after_import)
        self.sandbox = Sandbox()
        self.hooks = None
        self.tags = {}

    def begin(self):
        """The process has its version's environment now, and nothing of the function has run."""
        os.set_inheritable(_CONTROL, False)
        os.environ.pop("HEARTH_ZYGOTE", None)
        self.is_sandboxed = self.sandbox.read(os.environ)

    def prepare(self, hooks, times, peak_kib):
        """Makes this process ready to be forked and says so."""
        self.hooks = hooks
        hooks.run_before()
        gc.collect()
        refusal = reason_against(hooks)
        if refusal:
            self.control.send(REFUSES, refusal.encode())
            os._exit(0)
        if not self.is_rehearsed:
            rehearse(self.randomness)
        gc.freeze()
        self.control.send(READY, struct.pack("<QQQI", *times, peak_kib))

    def serve_forks(self):
        """Forks on command; returns in each child. The end of the socket ends the process.

        What can be done before the fork is done before it: each page that a child writes first is copied for it, which
        costs time and memory. For the same reason signals go through the module below `signal`, which makes no enums.
        """
        set_scheduling(os.SCHED_BATCH)
        _signal.signal(_signal.SIGCHLD, lambda *_: self.collect())
        while True:
            order, descriptors = self.control.receive()
            if not order:
                os._exit(0)
            tag = int.from_bytes(order[:4], "little")
            if not descriptors:
                self.control.send(UNFORKED, struct.pack("<Ii", tag, 9))
                continue
            end = 7 + int.from_bytes(order[5:7], "little")
            os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "provisioned-concurrency" if order[4] else "on-demand"
            os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = order[7:end].decode()
            if end < len(order):
                os.environ["AWS_LAMBDA_RUNTIME_API"] = order[end:].decode()
            # A child that ends at once must not be collected before it has a name.
            _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGCHLD,))
            try:
                pid = os.fork()
            except OSError as error:
                self.control.send(UNFORKED, struct.pack("<Ii", tag, error.errno or 0))
                pid = -1
            if pid == 0:
                return self.become_worker(descriptors)
            if pid > 0:
                self.tags[pid] = tag
                pidfd = os.pidfd_open(pid)
                self.control.send(FORKED, struct.pack("<I", tag), (pidfd,))
                os.close(pidfd)
            for descriptor in descriptors:
                os.close(descriptor)
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGCHLD,))

    def collect(self):
        while self.tags:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            tag = self.tags.pop(pid, None)
            if tag is not None:
                self.control.send(EXITED, struct.pack("<Ii", tag, status))

    def become_worker(self, descriptors):
        self.control.socket.detach()
        *ends, log = descriptors
        os.dup2(log, 1)
        os.dup2(log, 2)
        # Number 3 is the control socket, closed by being replaced.
        if ends:
            os.dup2(ends[0], 3, inheritable=False)
            os.dup2(ends[1], 4, inheritable=False)
        else:
            os.dup2(0, 3, inheritable=False)
        for descriptor in descriptors:
            os.close(descriptor)
        os.setpgid(0, 0)
        set_scheduling(os.SCHED_OTHER)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGCHLD,))
        self.randomness.renew()
        # What a worker makes from now on is its own.
        self.randomness.is_renewed = True
        if self.is_sandboxed:
            self.sandbox.enter()


def rehearse(randomness):
    """Runs what every child runs first, so that it finds the interpreter's caches filled and this code specialised.

    A child pays for each page that it writes first: with this, private memory of a worker is a fifth less, and its start
    a tenth. The functions are those that the standard library has the interpreter call in a forked child; in a process
    with one thread they put things into the state that they have. They are CPython's own business: where one is missing or
    wants something else, children just start a little slower.
    """
    names = ("threading", "_after_fork"), ("logging", "_after_at_fork_child_reinit_locks"), ("random", "seed")
    found = [getattr(sys.modules.get(module), name, None) for module, name in names]
    try:
        # CPython specialises code that has run eight times, and needs some more runs to know for what.
        for _ in range(20):
            for function in filter(None, found):
                function()
            randomness.renew()
    except Exception:
        pass
