"""PyTorch training recipes as pure JAX: schedules, parameter groups and optimizers that give the same run.

    import jaxsched as js

    lr = js.warmup(js.cosine(peak=0.1, steps=10_000), steps=500)
    tx = js.sgd(lr=lr, momentum=0.9, weight_decay=1e-4, groups={"bias": dict(weight_decay=0.0)})

The names that are used most are here. All others are in `schedules`, `groups`, `optimizers`, `transforms`, `metric`,
`recipe`, `report`, `verification` and `ports`. The names are listed once, in ``__init__.pyi``; each is imported when it
is first used, so that ``import jaxsched`` takes almost no time and does not import jax.
"""

import importlib as _importlib
import pathlib as _pathlib
import re as _re

__version__ = "0.1.0"


def _homes() -> dict[str, str]:
    stub = _pathlib.Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    return {
        name: home for home, name in _re.findall(r"^from (jaxsched[.\w]*) import (\w+) as \2$", stub, _re.MULTILINE)
    }


_HOMES = _homes()
__all__ = tuple(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hint(name)}", name=name)
    if home == __name__:
        return _importlib.import_module(f"{__name__}.{name}")
    globals()[name] = value = getattr(_importlib.import_module(home), name)
    return value


def _hint(name: str) -> str:
    """Where a name is that the root does not have, or which one was probably meant."""
    if name.startswith("_"):
        return ""
    rooms = ("schedules", "groups", "optimizers", "transforms", "recipe", "report", "metric", "verification")
    for room in (*rooms, "ports.torch"):
        if name in vars(_importlib.import_module(f"{__name__}.{room}")):
            return f"; it is {__name__}.{room}.{name}"
    from jaxsched.checks import did_you_mean

    return did_you_mean(name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
