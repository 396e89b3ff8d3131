"""Waits for the first import of a module, for the clients of Python functions."""

import sys


class OnImport:
    """Runs something right after a module's first import: what most small functions never need costs them nothing."""

    def __init__(self, name, action):
        self.name = name
        self.action = action

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        from importlib.machinery import PathFinder

        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_act(module):
            execute(module)
            self.action(module)

        spec.loader.exec_module = execute_and_act
        return spec


def after_import(name, action):
    """Calls `action` with the module: now if it is imported already, else when it is."""
    module = sys.modules.get(name)
    if module is not None:
        action(module)
    else:
        sys.meta_path.insert(0, OnImport(name, action))
