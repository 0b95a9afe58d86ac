"""An extension of griffe, which reads the docstrings for mkdocstrings.

A maker of schedules takes no step: its signature is that of the decorated function less the first argument.
"""

import inspect
from typing import Any

import griffe


class Signatures(griffe.Extension):
    """Shows makers as they are called."""

    def on_function_instance(self, *, node: Any, func: griffe.Function, **_: Any) -> None:
        made = getattr(getattr(node.parent, "obj", None), node.name, None)  # griffe's own is unwrapped
        if getattr(made, "__signature__", None) is not None:
            names = set(inspect.signature(made).parameters)
            for parameter in [p.name for p in func.parameters if p.name not in names]:
                del func.parameters[parameter]
