"""An extension of griffe, which reads the docstrings for mkdocstrings.

A maker of schedules takes no step: its signature is that of the decorated function less the first argument. The fields
of a dataclass or a NamedTuple are in the docstring of the class; as members they would have the docstring of ``float``.
``::`` before an equation is Sphinx'.
"""

import inspect
import re
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
        for parameter in func.parameters:  # as written: NonNegative would be followed to typing.Annotated
            if parameter.annotation is not None:
                parameter.annotation = re.sub(r"^Annotated\[(.+), [\w.(), ]+\]$", r"\1", str(parameter.annotation))

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"::$", ":", obj.docstring.value, flags=re.MULTILINE)

    def on_class_members(self, *, node: Any, cls: griffe.Class, **_: Any) -> None:
        made = getattr(node, "obj", None)
        for name in (*getattr(made, "__dataclass_fields__", ()), *getattr(made, "_fields", ())):
            cls.members.pop(name, None)
