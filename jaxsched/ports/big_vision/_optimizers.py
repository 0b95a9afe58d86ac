"""The optimizers that big_vision's configs name in ``optax_name``, with their arguments in ``optax``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxsched.checks import did_you_mean, short
from jaxsched.ports import shared

Found = tuple[str, dict[str, Any]]
_NONE = ("None", "null", "")


def optimizer_of(a: shared.Settings, name: str, notes: list[str]) -> Found:
    """The optimizer's name in jaxsched and its hyperparameters, without lr and weight decay, which is decoupled.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If the optimizer or an argument is not known, or a value out of its range.
    """
    if name not in _OPTIMIZERS:
        raise ValueError(
            f"{a.where}: optax_name must be one of {', '.join(_OPTIMIZERS)}, got {short(name)}"
            f"{did_you_mean(name, _OPTIMIZERS)}; for another one, write the recipe with js.Recipe"
        )
    found, kept = _OPTIMIZERS[name](a)
    a.finish()
    kept = {slot: dtype for slot, dtype in kept.items() if dtype is not None}
    if kept:
        found[1]["state_dtype"] = kept
        notes.append(
            f"{', '.join(kept)}: kept in {next(iter(kept.values()))} and averaged in float32, where optax averages in "
            "the kept dtype too (a weight of 0.9 is 0.8984 in bfloat16)"
        )
    return found


def _dtype(a: shared.Settings, name: str, default: str | None) -> str | None:
    """The name of a dtype, of a string or of ``jnp.bfloat16``; None for that of the parameters, float32."""
    value = a.take(name, default)
    path = value.path if isinstance(value, shared.Imported) else value
    if path is None or path in _NONE:
        return None
    kind = path.rpartition(".")[2] if isinstance(path, str) else path
    if kind not in ("bfloat16", "float16", "float32"):
        raise ValueError(f"{a.at(name)} must be bfloat16, float16 or float32, got {short(value)}")
    return None if kind == "float32" else kind


def _adam(a: shared.Settings) -> tuple[Found, dict[str, str | None]]:
    betas = a.beta("b1", 0.9), a.beta("b2", 0.999)
    eps, eps_root = a.number("eps", 1e-8, low=0.0), a.number("eps_root", 0.0, low=0.0)
    if a.flag("nesterov", False):
        raise ValueError(f"{a.at('nesterov')}: optax's NAdam is not torch's, and not ported; leave it out")
    values = {"betas": betas, "eps": eps, **({"eps_root": eps_root} if eps_root else {})}
    return ("adamw", values), {"exp_avg": _dtype(a, "mu_dtype", None)}


def _momentum(decay: str, dtype: str, default: Any, kept: str | None) -> Callable[[shared.Settings], Any]:
    def read(a: shared.Settings) -> tuple[Found, dict[str, str | None]]:
        momentum, nesterov = a.beta(decay, *default), a.flag("nesterov", False)
        values = {"momentum": momentum, "nesterov": nesterov and momentum > 0, "decoupled_weight_decay": True}
        slot = {"momentum": _dtype(a, dtype, kept)} if momentum else {}
        a.take(dtype, None)
        return ("sgd", values), slot

    return read


def _plain(a: shared.Settings) -> tuple[Found, dict[str, str | None]]:
    del a
    return ("sgd", {"decoupled_weight_decay": True}), {}


def _lion(a: shared.Settings) -> tuple[Found, dict[str, str | None]]:
    betas = a.beta("b1", 0.9), a.beta("b2", 0.99)
    return ("lion", {"betas": betas}), {"exp_avg": _dtype(a, "mu_dtype", None)}


def _adafactor(a: shared.Settings) -> tuple[Found, dict[str, str | None]]:
    if a.number("decay_offset", 0):
        raise ValueError(f"{a.at('decay_offset')} is not ported; leave it out")
    momentum = a.number("momentum", 0.9, or_none=True) or 0.0
    limit = a.number("clipping_threshold", None) or None
    values = {
        "beta2_decay": -a.number("decay_rate", 0.8, low=0.0),
        "eps": (a.number("eps", 1e-30, low=0.0), 0.0),
        "d": limit,
        "scale_parameter": False,
        "relative_step": False,
        "eps_in_square": True,
        "beta2_cap": a.number("beta2_cap", 0.999, low=0.0, high=1.0),
        "momentum": shared.as_beta(a.at("momentum"), momentum),
        "min_dim_size_to_factor": a.count("min_dim_size_to_factor", 32, least=1),
    }
    if limit is not None and limit < 1:
        raise ValueError(f"{a.at('clipping_threshold')} must be at least 1, got {limit:g}; no other is ported")
    dtype = _dtype(a, "dtype_momentum", "bfloat16")
    return ("adafactor", values), {"exp_avg": dtype if momentum else None}


_OPTIMIZERS: Mapping[str, Callable[[shared.Settings], tuple[Found, dict[str, str | None]]]] = {
    "scale_by_adam": _adam,
    "big_vision.scale_by_adafactor": _adafactor,
    "big_vision.momentum_hp": _momentum("momentum", "dtype", (0.9,), "bfloat16"),
    "big_vision.sgd": _plain,
    "identity": _plain,
    "trace": _momentum("decay", "accumulator_dtype", (), None),
    "scale_by_lion": _lion,
}
