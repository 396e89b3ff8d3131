"""Makes a zygote of a function that uses the stock client, awslambdaric, with SnapStart.

Python imports this module at its start because Hearth puts its directory on PYTHONPATH. The client runs the function's
init and the hooks before the snapshot, and then asks for what comes after the restore (`restore_next`): there it is
forked, and each fork goes on as if it had been restored, with a Runtime API of its own.
"""

import os
import sys

_MODULE = "awslambdaric.lambda_runtime_client"


class _Patch:
    """Changes the client's module right after its import."""

    def find_spec(self, name, path=None, target=None):
        if name != _MODULE:
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            _patch(module)

        spec.loader.exec_module = execute_and_patch
        return spec


def _patch(module):
    import time

    started = time.monotonic_ns()

    def restore_next(client):
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import hearth_zygote

        sys.path.pop(0)
        control = hearth_zygote.Control()
        os.set_inheritable(3, False)
        randomness = hearth_zygote.Randomness()
        sandbox = hearth_zygote.make_sandbox()
        sys.stdout.flush()
        sys.stderr.flush()
        # The client runs the hooks itself.
        hooks = hearth_zygote.Hooks(runs=False)
        now = time.monotonic_ns()
        hearth_zygote.prepare(control, randomness, sandbox, hooks, (started, started, now), 0).serve_forks()
        client.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]
        if module.runtime_client is not None:
            module.runtime_client.initialize_client(module._user_agent())

    module.LambdaRuntimeClient.restore_next = restore_next


if os.environ.pop("HEARTH_ZYGOTE", None):
    sys.meta_path.insert(0, _Patch())
