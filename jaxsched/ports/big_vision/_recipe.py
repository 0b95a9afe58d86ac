"""The recipe that big_vision's trainers follow, from a config, which is never executed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, regex
from jaxsched.ports import shared
from jaxsched.ports.big_vision._arguments import KNOWN
from jaxsched.ports.big_vision._optimizers import optimizer_of
from jaxsched.ports.big_vision._schedules import Run, schedule_of
from jaxsched.recipe import Recipe, caution
from jaxsched.schedules import Schedule

_READ = (
    *("lr", "lr_mults", "wd", "wd_mults", "schedule", "optax_name", "optax", "grad_clip_norm", "input", "ema_decay"),
    *(f"total_{unit}" for unit in ("steps", "epochs", "examples")),
)
"""The settings that a recipe is made of; an unknown setting with a similar name is reported."""
_EVERYTHING = ".*"
_KERNELS = [(".*/kernel$", 1.0)]
"""The parameters that decay where a config has no ``wd_mults``."""
Entries = Sequence[tuple[str, Any]]


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    arg: str | None = None,
    images: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe that big_vision's trainers follow.

    With ``u`` the update of the optimizer that ``optax_name`` names, a parameter changes at each step by
    ``-schedule(step) * (lr * lr_mult * u + wd * wd_mult * p)``: weight decay is scheduled, and not multiplied by lr. In
    the recipe the lr is ``lr * lr_mult * schedule``, and the decoupled weight decay ``wd * wd_mult / (lr * lr_mult)``.

    Parameters are grouped by the regular expressions of ``schedule``, ``lr_mults`` and ``wd_mults``, each of which must
    match the whole path, the first one counts: by default all have one schedule, and those called ``kernel`` decay.
    Parameters whose schedule is None are frozen (the group ``frozen``). The paths are those below ``params``.

    Args:
        config: The path to a config, of which the function ``get_config`` is followed but not executed; or to the
            ``config.json`` of a run; or the values.
        arg: What follows the colon in --config file.py:arg, such as variant=B/16,runlocal.
        images: Examples of the training data; needed where something counts epochs.
        overrides: Values in place of the config's, such as lr=0.03, by a dotted name such as schedule.warmup_steps.

    Returns:
        A recipe; ``notes`` lists the settings that are not part of it.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is not known without running the file, missing or out of its range.

    Examples:
        >>> import jaxsched as js
        >>> schedule = dict(decay_type="cosine", warmup_steps=10)
        >>> config = dict(lr=1e-3, wd=1e-4, optax_name="scale_by_adam", schedule=schedule, total_steps=100)
        >>> recipe = js.ports.big_vision.recipe(config)
        >>> js.curves(recipe, [0, 10, 55])["decay"]["lr"].round(6).tolist()
        [0.0, 0.0010000000474974513, 0.0005000000237487257]
        >>> recipe.groups["decay"]["weight_decay"]
        0.1
    """
    where, values = shared.read_config(config, arg, overrides, KNOWN)
    a = shared.ConfigSettings(where, values)
    for name, remedy in (("optim", "it is optax now"), ("weight_decay", "it is wd now, and scheduled")):
        if name in a.values:
            raise ValueError(f"{a.at(name)} is not read by big_vision: {remedy}")
    if not a.values.get("weight_decay_decouple", True):
        raise ValueError(
            f"{a.at('weight_decay_decouple')} must be true: big_vision has no coupled weight decay any more"
        )
    if a.values.get("grad_accum_steps"):
        raise ValueError(f"{a.at('grad_accum_steps')}: big_vision does not accumulate gradients any more; take it out")
    data = a.section("input", {})
    size = data.count("batch_size", None, least=1)
    size = a.count("batch_size", None, least=1) if size is None else size
    run = _length(a, size, images)
    notes: list[str] = []
    optimizer, options = optimizer_of(a.section("optax", {}), a.text("optax_name"), notes)
    lr, wd = a.number("lr", low=0.0), a.number("wd", None, low=0.0) or 0.0
    if wd and not lr:
        raise ValueError(f"{a.at('lr')} is 0, and wd is multiplied by the schedule alone; set wd to 0 or freeze all")
    grouping = _Groups(a, wd)
    rules, groups = grouping.made(run, lr, wd)
    clip = a.number("grad_clip_norm", None, low=0.0) or None
    if clip and a.take("grad_clip_per_example", None):
        raise ValueError(f"{a.at('grad_clip_per_example')} clips the gradient of each example; it is not ported")
    ema = a.number("ema_decay", None, low=0.0, high=1.0) or None
    if "gsam" in a.values:
        text = f"{a.at('gsam')} is left out: take the gradients that GSAM gives, and hand them to the recipe"
        notes.append(caution("left-out", text))
    steps = run.steps or 0
    whole = size is not None and run.data_size is not None and run.data_size % size == 0
    return Recipe(
        optimizer,
        {"weight_decay": 0.0, **options},
        groups=groups,
        rules=rules,
        clip_norm=clip,
        ema=ema,
        steps=steps,
        steps_per_epoch=(run.data_size or 0) // (size or 1) if whole else None,
        batch_size=size,
        notes=(*notes, *_others(a)),
        origin=_origin(where, groups, bool(wd)),
    )


def _length(a: shared.Settings, size: int | None, images: int | None) -> Run:
    """The steps of the run, as the trainers count them; older configs have ``num_epochs``."""
    run = Run(None, size, images)
    if a.values.get("num_epochs"):
        epochs = a.number("num_epochs", low=0.0)
        if run.duration(a, "total") is not None:
            raise ValueError(f"{a.where}: num_epochs and a total are both given; keep one")
        if size is None or images is None:
            raise shared.MissingError(a.where, "num_epochs counts epochs", ("images",))
        total: Any = int(epochs * (images / size))
    else:
        total = run.duration(a, "total")
    if total is None:
        raise ValueError(f"{a.where}: 'total_steps' is missing; add it, or total_epochs or total_examples")
    if total == 0:
        raise ValueError(f"{a.where}: the run has no steps: it only evaluates")
    return Run(shared.as_count(a.at("total_steps"), total), size, images)


class _Groups:
    """The groups that the patterns of ``schedule``, ``lr_mults`` and ``wd_mults`` make together."""

    def __init__(self, a: shared.Settings, wd: float):
        self.a = a
        schedule = a.take("schedule", {})
        self.several = isinstance(schedule, list | tuple)
        self.schedules = self._pairs("schedule", schedule) if self.several else [(_EVERYTHING, schedule)]
        self.lr = self._numbers("lr_mults")
        self.wd = self._numbers("wd_mults", _KERNELS) if wd else []
        for pattern, mult in self.lr:
            if mult <= 0:
                raise ValueError(
                    f"{a.at('lr_mults')}: {short(pattern)} has {mult:g}; freeze by a schedule None instead"
                )
        for pattern, own in self.schedules:
            if own is not None and not isinstance(own, Mapping):
                raise TypeError(f"{a.at('schedule')}: {short(pattern)} must have a dict or None, got {short(own)}")

    def _pairs(self, name: str, entries: Any) -> Entries:
        if not isinstance(entries, list | tuple):
            raise TypeError(f"{self.a.at(name)} must be a list of pairs (pattern, value), got {short(entries)}")
        for i, entry in enumerate(entries):
            if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise TypeError(f"{self.a.at(name)}[{i}] must be a pair (pattern, value), got {short(entry)}")
            if entry[0].startswith("/"):
                raise ValueError(
                    f"{self.a.at(name)}[{i}]: no path begins with a slash; take it out of {short(entry[0])}"
                )
        return [(pattern, value) for pattern, value in entries]

    def _numbers(self, name: str, default: Any = None) -> list[tuple[str, float]]:
        return [
            (pattern, shared.as_number(f"{self.a.at(name)}[{i}]", value))
            for i, (pattern, value) in enumerate(self._pairs(name, self.a.take(name, default) or []))
        ]

    def made(self, run: Run, lr: float, wd: float) -> tuple[tuple[Rule, ...], dict[str, Mapping[str, Any] | None]]:
        """The rules, in the order in which the patterns are tried, and the hyperparameters of each group."""
        rules: list[Rule] = []
        groups: dict[str, Mapping[str, Any] | None] = {}
        active = [own for _, own in self.schedules if own is not None]
        if not active:
            raise ValueError(f"{self.a.at('schedule')} freezes all parameters; give some a schedule")
        number = 0
        for i, (pattern, own) in enumerate(self.schedules):
            if own is None:
                rules.append(self._rule("frozen", pattern))
                groups["frozen"] = None
                continue
            for lr_pattern, lr_mult in _with_rest(self.lr, 1.0):
                schedule = self._schedule(i, own, run, lr * lr_mult)
                for wd_pattern, wd_mult in _with_rest(self.wd, 0.0):
                    name = self._name(number if len(active) > 1 else None, lr_mult, wd_mult)
                    rules.append(self._rule(name, pattern, lr_pattern, wd_pattern))
                    decay = {"weight_decay": wd * wd_mult / (lr * lr_mult)} if wd and wd_mult else {}
                    groups[name] = {"lr": schedule, **decay}
            number += 1
        return tuple(rules), groups

    def _schedule(self, i: int, own: Any, run: Run, lr: float) -> Schedule:
        where = f"schedule[{i}]" if self.several else "schedule"
        s = shared.ConfigSettings(self.a.at(where), own)
        if "base" in s.values:
            raise ValueError(f"{s.at('base')} is not an argument of big_vision; it is mult")
        s.values = {("base" if name == "mult" else name): value for name, value in s.values.items()}
        found = schedule_of(s, run, lr)
        s.finish(("mult",))
        return found

    def _name(self, schedule: int | None, lr: float, wd: float) -> str:
        """``schedule1_lr_x0.1_no_decay``: the schedules are numbered as in big_vision's log."""
        parts = [] if schedule is None else [f"schedule{schedule or ''}"]
        parts += [f"lr_x{_shortest(lr)}"] if self.lr and lr != 1 else []
        if self.wd:
            parts.append("no_decay" if not wd else "decay" if wd == 1 else f"decay_x{_shortest(wd)}")
        return "_".join(parts) or "all"

    def _rule(self, group: str, *patterns: str) -> Rule:
        try:
            found = [_whole_match(pattern) for pattern in patterns if pattern != _EVERYTHING]
        except ValueError as error:
            raise ValueError(f"{self.a.where}: {error}") from None
        match: Any = Condition("all", tuple(found)) if len(found) > 1 else found[0] if found else "**"
        return Rule(match, group, optional=True)


def _with_rest(entries: Sequence[tuple[str, float]], rest: float) -> Sequence[tuple[str, float]]:
    """The entries, and one for the parameters that none of them matches."""
    everything = next((i for i, (pattern, _) in enumerate(entries) if pattern == _EVERYTHING), None)
    return entries[: everything + 1] if everything is not None else [*entries, (_EVERYTHING, rest)]


def _shortest(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _whole_match(pattern: str) -> Condition:
    regex(pattern)  # an error of it names the pattern as it stands in the file
    return regex(rf"\A(?:{pattern})\Z")


def _others(a: shared.Settings) -> list[str]:
    """Notes on the other settings: of the model, the data and the evaluation."""
    a.taken += _READ
    return a.rest(aside=[name for name in a.values if not difflib.get_close_matches(str(name), _READ, 1, cutoff=0.85)])


def _origin(where: str, groups: Mapping[str, Any], decays: bool) -> dict[str, str]:
    found = {}
    for name, own in groups.items():
        if own is not None:
            found[f"{name}.lr"] = f"{where}: lr x schedule"
            if "weight_decay" in own:
                found[f"{name}.weight_decay"] = f"{where}: wd / lr"
    return found
