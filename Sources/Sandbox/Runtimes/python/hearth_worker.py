"""Hearth's client for Python functions: reads invocations from descriptor 3, writes answers to descriptor 4.

A frame is a little-endian u32 with the length of what follows, one byte for its kind, and the rest; the kinds are
described in Sources/Sandbox/InvocationMessage.swift. One invocation at a time; the end of descriptor 3 is the end.
Works with Python 3.8 and later, with the standard library alone.
"""

import time

_started = time.monotonic_ns()

import json
import os
import posix
import resource
import struct
import sys

from hearth_imports import after_import

_IN, _OUT = 3, 4
_READY, _INIT_FAILED, _ANSWER, _FAILURE, _STREAM_BEGIN, _STREAM_PIECE = 1, 2, 6, 7, 8, 9
_HTTP_TYPE = b"application/vnd.awslambda.http-integration-response"
_CHUNK = 1 << 16


class ClientContext:
    """What a mobile client said of itself, as far as it did."""

    __slots__ = ("custom", "env", "client")

    class Client:
        __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

        def __init__(self, given):
            for name in self.__slots__:
                setattr(self, name, given.get(name))

    def __init__(self, given):
        self.custom = given.get("custom")
        self.env = given.get("env")
        self.client = self.Client(given["client"]) if isinstance(given.get("client"), dict) else None


class Identity:
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self):
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None


class Context:
    """The second argument of a handler; Lambda's attributes and methods."""

    function_name = None
    memory_limit_in_mb = None
    log_group_name = None
    log_stream_name = None
    tenant_id = None

    @classmethod
    def read(cls, environment):
        """Takes what is the same for all invocations of this process."""
        cls.function_name = environment.get("AWS_LAMBDA_FUNCTION_NAME")
        cls.memory_limit_in_mb = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        cls.log_group_name = environment.get("AWS_LAMBDA_LOG_GROUP_NAME")
        cls.log_stream_name = environment.get("AWS_LAMBDA_LOG_STREAM_NAME")

    def __init__(self, request_id, deadline_ms, names, client_context):
        self.aws_request_id = request_id
        self.function_version, self.invoked_function_arn = names
        self._deadline_ms = deadline_ms
        self._client_context = client_context

    @property
    def client_context(self):
        return ClientContext(json.loads(self._client_context)) if self._client_context else None

    @property
    def identity(self):
        return Identity()

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return f"Context(aws_request_id={self.aws_request_id}, function_name={self.function_name})"


class HandlerError(Exception):
    """The handler cannot be had; `kind` is Lambda's errorType."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


def load_handler(name):
    """The function that `_HANDLER` names: `module.function`, packages with dots or slashes."""
    import importlib

    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        raise HandlerError("Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)")
    module_name = module_name.replace("/", ".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise HandlerError(
            "Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}", user_frames(error)
        ) from error
    except SyntaxError as error:
        where = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text or ""}']
        raise HandlerError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", where
        ) from error
    handler = getattr(module, function_name, None)
    if handler is None:
        raise HandlerError("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'")
    return handler


def user_frames(error):
    """The traceback's lines without those of this client and of the import system."""
    import importlib
    import traceback

    importer = importlib.__file__
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib") and frame.filename != importer
    ]
    return traceback.format_list(frames)


def describe(error, request_id):
    """Lambda's error object."""
    if isinstance(error, HandlerError):
        kind, trace = error.kind, error.trace
    else:
        kind, trace = type(error).__name__, user_frames(error)
    try:
        message = str(error)
    except Exception:
        # The function's own __str__ failed; what it raised first is still to be answered.
        message = f"<{kind} whose text cannot be had>"
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


def print_error(description):
    """Errors stand in the log too, readable."""
    trace = "".join(description["stackTrace"])
    text = f"[ERROR] {description['errorType']}: {description['errorMessage']}\n"
    try:
        sys.stdout.write(text + ("Traceback (most recent call last):\n" + trace if trace else ""))
    except (AttributeError, ValueError, OSError):
        # The handler has closed its standard output.
        pass


def default(value):
    """What json cannot write by itself: decimals, as DynamoDB's client returns them."""
    if type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def make_encode():
    """json.dumps as Lambda calls it, without what it sets up anew at each call."""
    if json.encoder.c_make_encoder is None:
        return json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=default).encode
    # No markers: a circular value ends in a RecursionError instead of costing every call a dictionary.
    chunks = json.encoder.c_make_encoder(
        None, default, json.encoder.encode_basestring, None, ":", ",", False, False, True
    )
    join = "".join
    return lambda value: join(chunks(value, 0))


_encode = make_encode()
_scan = json.JSONDecoder().scan_once


def parse(text):
    """json.loads of a text that the server has checked."""
    if text[0] in " \n\r\t":
        text = text.lstrip(" \n\r\t")
    return _scan(text, 0)[0]


class PeakMemory:
    """The highest resident memory of this process, in KiB.

    The kernel's ru_maxrss may be the server's (it survives exec), so VmHWM is read; and only after new page faults,
    because without one the peak cannot have moved.
    """

    __slots__ = ("faults", "kib", "status")

    def __init__(self, kib=0):
        self.faults = -1
        self.kib = kib
        self.status = -1

    def read(self, _usage=resource.getrusage, _self=resource.RUSAGE_SELF):
        usage = _usage(_self)
        faults = usage[6] + usage[7]
        if faults != self.faults:
            self.faults = faults
            if self.status < 0:
                self.status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            text = os.pread(self.status, 4096, 0)
            at = text.find(b"VmHWM:")
            if at >= 0:
                self.kib = int(text[at + 6 : text.index(b"kB", at)])
        return self.kib


def write_all(data):
    written = posix.write(_OUT, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = posix.write(_OUT, data)


def send(kind, body):
    write_all(struct.pack("<IB", len(body) + 1, kind) + body)


def stream(pieces, mark):
    """Sends what a handler that is a generator yields, each piece at once: bytes or texts.

    A dictionary that comes first is the head of an HTTP response: statusCode, headers, cookies.
    """
    first = next(pieces, b"")
    if isinstance(first, dict):
        send(_STREAM_BEGIN, mark + _HTTP_TYPE)
        first = json.dumps(first, default=default).encode() + bytes(8)
    else:
        send(_STREAM_BEGIN, mark + b"application/octet-stream")
    while True:
        data = memoryview(first.encode("utf-8", "backslashreplace") if isinstance(first, str) else first).cast("B")
        for at in range(0, len(data), _CHUNK):
            send(_STREAM_PIECE, mark + data[at : at + _CHUNK])
        try:
            first = next(pieces)
        except StopIteration:
            return


def set_up_logging():
    """The root logger as Lambda sets it up."""
    import logging

    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    is_json = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"

    class Handler(logging.Handler):
        def emit(self, record):
            try:
                sys.stdout.write(self.format(record))
            except Exception:
                self.handleError(record)

    class Formatter(logging.Formatter):
        converter = time.gmtime

        def format(self, record):
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + self.formatException(record.exc_info)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
            request_id = _current[0]
            if is_json:
                return json.dumps(
                    {
                        "timestamp": stamp,
                        "level": record.levelname,
                        "message": message,
                        "logger": record.name,
                        "requestId": request_id,
                    }
                ) + "\n"
            return f"[{record.levelname}]\t{stamp}\t{request_id}\t{message}\n"

    handler = Handler()
    handler.setFormatter(Formatter())
    root = logging.getLogger()
    root.addHandler(handler)
    if level in ("DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"):
        root.setLevel({"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level))


#: The id of the running invocation, for log lines.
_current = [""]


def frames():
    """Yields the body of each frame; ends with the pipe."""
    pending = b""
    read = posix.read
    from_bytes = int.from_bytes
    while True:
        while len(pending) < 4:
            data = read(_IN, _CHUNK)
            if not data:
                return
            pending += data
        length = 4 + from_bytes(pending[:4], "little")
        if len(pending) == length:
            body, pending = pending, b""
        else:
            if len(pending) < length:
                parts, count = [pending], len(pending)
                while count < length:
                    data = read(_IN, max(_CHUNK, length - count))
                    if not data:
                        return
                    parts.append(data)
                    count += len(data)
                pending = b"".join(parts)
            body, pending = pending[:length], pending[length:]
        yield body


def flush_log():
    """Writes what lacks its line's end. The handler may have put streams of its own in place, or have closed ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass


def serve(handler, peak):
    """Answers invocations until the server closes the pipe."""
    encode, scan = _encode, _scan
    head = struct.Struct("<IB36sQBHHI")
    unpack_head = head.unpack_from
    head_size = head.size
    named, names = None, None
    count = 0
    pack = struct.Struct("<IBI8s").pack
    write = posix.write
    clock = time.perf_counter_ns
    generator = type(_ for _ in ())
    peak_kib = 0
    environ = os.environ
    traced = False
    for frame in frames():
        _, _, request_id, deadline, version_size, arn_size, trace_size, context_size = unpack_head(frame)
        mark = request_id[28:]
        request_id = request_id.decode("ascii")
        at = head_size + version_size + arn_size
        if frame[head_size:at] != named:
            # The same names as last time, nearly always.
            named = frame[head_size:at]
            names = named[:version_size].decode(), named[version_size:].decode()
        if trace_size:
            environ["_X_AMZN_TRACE_ID"] = frame[at : at + trace_size].decode()
            at += trace_size
            traced = True
        elif traced:
            # That of the invocation before is not this one's.
            environ.pop("_X_AMZN_TRACE_ID", None)
            traced = False
        client_context = frame[at : at + context_size] if context_size else None
        at += context_size
        _current[0] = request_id
        count += 1
        began = clock()
        try:
            text = frame[at:].decode()
            event = scan(text, 0)[0] if text[0] == "{" else parse(text)
            result = handler(event, Context(request_id, deadline, names, client_context))
            if result.__class__ is generator:
                stream(result, mark)
                result = None
            try:
                body = encode(result).encode("utf-8", "backslashreplace")
            except (TypeError, ValueError, RecursionError) as error:
                raise HandlerError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
            kind = _ANSWER
        except Exception as error:
            description = describe(error, request_id)
            print_error(description)
            body = json.dumps(description, ensure_ascii=False).encode("utf-8", "backslashreplace")
            kind = _FAILURE
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (AttributeError, ValueError, OSError):
            flush_log()
        # Memory cannot have grown by much in an instant: short runs are looked at now and then.
        if count & 63 == 1 or clock() - began > 200_000:
            peak_kib = peak.read()
        data = pack(len(body) + 13, kind, peak_kib, mark) + body
        written = write(_OUT, data)
        if written < len(data):
            write_all(memoryview(data)[written:])


def import_handler(fail):
    """The handler, or the end of the process after `fail` has been told Lambda's error object."""
    try:
        return load_handler(os.environ["_HANDLER"])
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        description = describe(error, "")
        print_error(description)
        flush_log()
        fail(json.dumps(description, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        sys.exit(1)


def send_ready(peak_kib, import_began, import_ended):
    threads = len(os.listdir("/proc/self/task"))
    send(_READY, struct.pack("<QQQIH", _started, import_began, import_ended, peak_kib, threads))


def run_worker():
    import gc

    begin()
    import_began = time.monotonic_ns()
    for descriptor in (_IN, _OUT):
        os.set_inheritable(descriptor, False)
    handler = import_handler(lambda error: send(_INIT_FAILED, error))
    import_ended = time.monotonic_ns()
    gc.collect()
    gc.freeze()
    flush_log()
    peak = PeakMemory()
    send_ready(peak.read(), import_began, import_ended)
    serve(handler, peak)


def run_zygote(zygote, make_hooks, writes_bytecode=True):
    """Imports the handler once; who comes back from `serve_forks` is a worker, forked on the server's order."""
    global _started
    begin()
    zygote.begin()
    import_began = time.monotonic_ns()
    sys.dont_write_bytecode = not writes_bytecode
    handler = import_handler(zygote.control.fail)
    sys.dont_write_bytecode = False
    import_ended = time.monotonic_ns()
    flush_log()
    peak_kib = PeakMemory().read()
    zygote.prepare(make_hooks(), (_started, import_began, import_ended), peak_kib)
    # A fork begins with its zygote's memory; it looks for itself at its first invocation.
    peak = PeakMemory(peak_kib)
    zygote.serve_forks()
    _started = time.monotonic_ns()
    Context.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
    try:
        zygote.hooks.run_after()
    except Exception as error:
        description = describe(error, "")
        print_error(description)
        flush_log()
        send(_INIT_FAILED, json.dumps(description, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        os._exit(1)
    flush_log()
    send_ready(peak_kib, _started, _started)
    serve(handler, peak)
    flush_log()
    # Nothing of a worker is worth the milliseconds that an orderly end of the interpreter takes.
    os._exit(0)


def prepare():
    """What is the same for all functions."""
    # Each line is written when it ends: what a function printed before it hung or crashed is what its author needs most.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    after_import("logging", lambda _: set_up_logging())


def begin():
    """The process has its function's environment now."""
    Context.read(os.environ)
    sys.path[0] = os.environ.get("LAMBDA_TASK_ROOT", os.getcwd())


def main():
    if "HEARTH_ZYGOTE" in os.environ:
        import hearth_zygote

        prepare()
        run_zygote(hearth_zygote.Zygote(after_import), hearth_zygote.Hooks)
    else:
        prepare()
        run_worker()


if __name__ == "__main__":
    main()
