"""The optimizers of scenic's ``optimizer_configs``: those of optax, by optax's arguments and by the older ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxsched.checks import short
from jaxsched.ports import shared

_RENAMED = {"beta1": "b1", "beta2": "b2", "epsilon": "eps"}
_DECAY = {"adafactor": "weight_decay_rate"}
"""The argument of optax that decays, where it is not weight_decay."""
_DECAY_DEFAULT = {"adamw": 1e-4, "adamaxw": 1e-4, "lion": 1e-3, "nadamw": 1e-4}


class Optimizer:
    """An optimizer of a config.

    Attributes:
        name: Its name in a recipe.
        values: Its hyperparameters, without learning rate and weight decay.
        decay: The weight decay.
        decay_name: The hyperparameter that the weight decay is.
        lr_name: The hyperparameter that the learning rate is.
        is_sgd: Whether the weight decay is added to the gradients before they are clipped.
    """

    def __init__(self, a: shared.Settings, name: str):
        self.name, self.decay_name, self.lr_name, self.is_sgd = f"optax.{name}", "weight_decay", "learning_rate", False
        self.values: dict[str, Any] = {}
        decay = _DECAY.get(name, "weight_decay")
        self.decay = a.number(decay, _DECAY_DEFAULT.get(name, 0.0), low=0.0, or_none=True) or 0.0
        if name in ("adam", "adamw"):
            self.name, self.lr_name = "adamw" if name == "adamw" else "adam", "lr"
            self._adam(a)
            if name == "adam" and self.decay:
                raise ValueError(f"{a.at('weight_decay')} is not an argument of optax.adam; name adamw")
        elif name == "sgd":
            self.name, self.lr_name, self.is_sgd = "sgd", "lr", True
            momentum = a.number("momentum", None, low=0.0, or_none=True) or 0.0
            self.values = {"momentum": momentum, "nesterov": a.flag("nesterov", False) and momentum > 0}
            self._kept(a, "accumulator_dtype", "momentum", bool(momentum))
        else:
            self.decay_name = decay
            self.values, a.values = {key: _plain(value) for key, value in a.values.items()}, {}
        a.finish()

    def decays(self) -> dict[str, float]:
        """The weight decay, where it is not the optimizer's own default."""
        return {self.decay_name: self.decay} if self.decay or not self.name.startswith("optax.") else {}

    def _adam(self, a: shared.Settings) -> None:
        self.values = {"betas": (a.beta("b1", 0.9), a.beta("b2", 0.999)), "eps": a.number("eps", 1e-8, low=0.0)}
        if eps_root := a.number("eps_root", 0.0, low=0.0):
            self.values["eps_root"] = eps_root
        if a.flag("nesterov", False):
            raise ValueError(f"{a.at('nesterov')}: optax's NAdam is not torch's, and not ported; leave it out")
        self._kept(a, "mu_dtype", "exp_avg", True)

    def _kept(self, a: shared.Settings, name: str, slot: str, is_there: bool) -> None:
        value = a.take(name, None)
        kind = value.name if isinstance(value, shared.Imported) else value
        if kind not in (None, "bfloat16", "float16", "float32"):
            raise ValueError(f"{a.at(name)} must be bfloat16, float16 or float32, got {short(value)}")
        if kind not in (None, "float32") and is_there:
            self.values["state_dtype"] = {slot: kind}


def _plain(value: Any) -> Any:
    """A value as a recipe holds it: a dtype by its name."""
    return value.name if isinstance(value, shared.Imported) else value


def optimizer_settings(a: shared.Settings) -> tuple[shared.Settings, str]:
    """The settings of the optimizer with optax's names, and its name; the older ones say it beside them."""
    top = a.take("optimizer", None)
    inner = a.take("optimizer_configs", None) or {}
    where = "optimizer_configs"
    if isinstance(top, Mapping):
        where, inner, top = "optimizer", top, None
    if not isinstance(inner, Mapping):
        raise TypeError(f"{a.at(where)} must be a dict, got {short(inner)}")
    values = dict(inner)
    if "optax_name" in values:
        raise ValueError(
            f"{a.at(where)}: optax_name is of scenic's train_lib.optax, which is not ported; use optimizer"
        )
    if "optimizer" in values:
        if top is not None:
            raise ValueError(f"{a.where}: optimizer and optimizer_configs.optimizer are both given; keep the latter")
        name = values.pop("optimizer")
    else:
        name = top
        if name == "adam" and "weight_decay" in values:
            name = "adamw"
        if name == "momentum":
            name = "sgd"
            values.setdefault("momentum", 0.9)
        if name == "nesterov":
            name = "sgd"
            values["nesterov"] = True
        skip = a.take("skip_scale_and_bias_regularization", None)
        values |= {} if skip is None else {"skip_scale_and_bias_regularization": skip}
        values = {_RENAMED.get(key, key): value for key, value in values.items()}
        clip = a.take("grad_clip_configs", None)
        values |= {} if clip is None else {"grad_clip": clip}
    if not isinstance(name, str):
        raise ValueError(f"{a.where}: 'optimizer' is missing; name one of optax such as 'adamw'")
    return shared.ConfigSettings(a.at(where), values), name
