"""Makes a zygote of a function that uses the stock client, awslambdaric, with SnapStart.

Python imports this module at its start because Hearth puts its directory on PYTHONPATH. The client runs the function's
init and the hooks before the snapshot, and then asks for what comes after the restore (`restore_next`): there it is
forked, and each fork goes on as if it had been restored, with a Runtime API of its own.
"""

import os
import sys


class _Later:
    """Stands in for the client's native half, which reads the address of the Runtime API once, when it is loaded: so each
    fork loads it for itself."""

    NAME = "runtime_client"

    def __init__(self):
        sys.meta_path.insert(0, self)

    def find_spec(self, name, path=None, target=None):
        if name != self.NAME:
            return None
        from importlib.machinery import ModuleSpec, PathFinder

        return ModuleSpec(name, self) if PathFinder.find_spec(name, path) else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.initialize_client = lambda user_agent: None

    def load(self):
        import importlib

        sys.meta_path.remove(self)
        del sys.modules[self.NAME]
        return importlib.import_module(self.NAME)


def _prepare():
    import time

    started = time.monotonic_ns()
    import hearth_imports
    import hearth_zygote

    # What the function's init seeds is known from its first import on.
    zygote = hearth_zygote.Zygote(hearth_imports.after_import)
    zygote.begin()
    later = _Later()

    def patch(module):
        def restore_next(client):
            sys.stdout.flush()
            sys.stderr.flush()
            # The client runs the hooks itself.
            hooks = hearth_zygote.Hooks(runs=False)
            now = time.monotonic_ns()
            zygote.prepare(hooks, (started, started, now), 0)
            zygote.serve_forks()
            client.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]
            if module.runtime_client is not None:
                module.runtime_client = later.load()
                module.runtime_client.initialize_client(module._user_agent())

        module.LambdaRuntimeClient.restore_next = restore_next

    hearth_imports.after_import("awslambdaric.lambda_runtime_client", patch)


if "HEARTH_ZYGOTE" in os.environ:
    _prepare()
