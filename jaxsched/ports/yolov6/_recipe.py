"""The recipe of a run of YOLOv6 (0.2.1 to 0.4.1; from its behaviour), from a config, which is never executed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jaxsched.checks import one_line, short
from jaxsched.groups import BY_ROLE
from jaxsched.ports import shared
from jaxsched.recipe import Recipe
from jaxsched.schedules import exponential_ramp

_NOMINAL_BATCH = 64
_SHORTEST_WARMUP = 1000
_CURVES: Mapping[str, shared.Curve] = {"Cosine": "cosine", "Constant": "flat"}
_OPTIMIZERS = {"SGD": "sgd", "Adam": "adam"}
_REFUSED = {
    "_base_": "names another config, which is not followed; write its solver here",
    "qat": "is for a run with --quant, which has no warm-up and is not ported; remove it if the run has none",
}


class _Solver(shared.Settings):
    """Settings of which some may be known to the running file alone."""

    def read(self, where: str, value: Any) -> Any:
        if isinstance(value, shared.Unknown):
            raise ValueError(
                f"{where} is `{one_line(value.source, 80)}` (line {value.line}), which is not known without running "
                "the file; write the value"
            )
        return value


def recipe(
    config: shared.File | str | os.PathLike[str] | Mapping[str, Any],
    *,
    epochs: int,
    batch_size: int,
    steps_per_epoch: int | None = None,
    images: int | None = None,
    world_size: int | None = None,
    bs_per_gpu: int = 32,
) -> Recipe:
    """The recipe that YOLOv6's ``tools/train.py`` follows.

    Three groups: ``bias`` (of norms too), ``norm`` (their scales), ``weight`` (all else, the only one with decay). With
    ``e`` the epoch, ``lf(e)`` half a cosine from 1 to ``lrf`` (or 1, for ``Constant``), and the peak ``lr0 * batch_size
    / (world_size * bs_per_gpu)``:

    - Warm-up over ``max(round(warmup_epochs * steps_per_epoch), 1000)`` iterations, the last included: biases go from
      ``warmup_bias_lr`` and the others from 0 to ``peak * lf(e)``; momentum (SGD only) from ``warmup_momentum``.
    - After it ``peak * lf(e - 1)``: one epoch late; the epoch in which warm-up ends keeps ``lf(e)``.
    - Gradients are summed over ``accumulate`` batches, which climbs during warm-up from 1 to ``64 / batch_size``; what
      is left at the end of an epoch is dropped. Decay is scaled by ``batch_size * accumulate / 64``.
    - The average of the parameters decays by ``0.9999 * (1 - exp(-k / 2000))`` at update ``k = 1, 2, ...``.

    Args:
        config: The path to a config in Python, or a dict with its ``solver``.
        epochs: Epochs of the run, as given to ``--epochs``, > 0.
        batch_size: Images in a batch of all devices together, as given to ``--batch-size``, > 0.
        steps_per_epoch: Batches in an epoch, a last smaller one included, > 0.
        images: Images of the training set, in place of ``steps_per_epoch``.
        world_size: How many processes train; may be left out if ``batch_size`` is ``bs_per_gpu``.
        bs_per_gpu: The batch of a device for which ``lr0`` is written, as given to ``--bs_per_gpu``.

    Returns:
        A recipe.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If the file is not a config, a value is out of its range or not known, or ``training_mode`` is
            ``"repopt"``, whose optimizer changes the gradients.

    Examples:
        >>> import jaxsched as js
        >>> solver = dict(optim="SGD", lr_scheduler="Cosine", lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4,
        ...               warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1)
        >>> recipe = js.ports.yolov6.recipe(dict(solver=solver), epochs=400, batch_size=32, steps_per_epoch=3697)
        >>> {group: float(values["lr"][0]) for group, values in js.curves(recipe, [0]).items()}
        {'bias': 0.10000000149011612, 'norm': 0.0, 'weight': 0.0}
    """
    where, values = _read(config)
    for name, why in _REFUSED.items():
        if values.get(name) is not None:
            raise ValueError(f"{where}: {name} {why}")
    whole = _Solver(where, values)
    if (mode := whole.take("training_mode", "repvgg")) == "repopt":
        raise ValueError(f"{where}: training_mode {short(mode)} changes the gradients, which is not ported")
    solver = whole.section("solver")
    optimizer, curve = solver.choice("optim", _OPTIMIZERS), solver.choice("lr_scheduler", _CURVES)
    lr0, lrf, decay = (solver.number(name, low=0.0) for name in ("lr0", "lrf", "weight_decay"))
    momentum, first_momentum = solver.beta("momentum"), solver.beta("warmup_momentum")
    asked, bias_lr = solver.number("warmup_epochs", low=0.0), solver.number("warmup_bias_lr", low=0.0)
    solver.finish()

    epochs, batch_size = shared.as_count("epochs", epochs), shared.as_count("batch_size", batch_size)
    bs_per_gpu = shared.as_count("bs_per_gpu", bs_per_gpu)
    if world_size is None and batch_size != bs_per_gpu:
        why = (
            f"lr0 is multiplied by batch_size / (world_size * bs_per_gpu) = {batch_size} / (world_size * {bs_per_gpu})"
        )
        raise shared.MissingError(where, why, ("world_size",))
    processes = shared.as_count("world_size", 1 if world_size is None else world_size)
    if batch_size < processes:
        raise ValueError(f"batch_size must be at least world_size ({processes}), got {batch_size}")
    if images is not None and steps_per_epoch is None:  # each process has its share, rounded up
        images = -(-shared.as_count("images", images) // processes)
    nb = shared.epoch_length(where, steps_per_epoch, images, batch_size // processes)
    peak = lr0 * batch_size / (processes * bs_per_gpu)
    loop = shared.Loop(
        epochs=epochs,
        steps_per_epoch=nb,
        batch_size=batch_size,
        nominal_batch=_NOMINAL_BATCH,
        curve=_CURVES[curve],
        floor=lrf,
        warmup_steps=shared.warmup_steps(asked, nb, _SHORTEST_WARMUP),
        late=True,
        drop=True,
    )
    own: dict[str, Any] = {"betas": (momentum, 0.999)}
    if optimizer == "SGD":
        own = {"momentum": loop.warmed(first_momentum, momentum), "nesterov": True}
    return Recipe(
        _OPTIMIZERS[optimizer],
        {"lr": loop.lr(peak, 0.0), "weight_decay": 0.0, **own},
        groups={"bias": {"lr": loop.lr(peak, bias_lr)}, "weight": {"weight_decay": loop.scaled_decay(decay)}},
        rules=BY_ROLE,
        accumulate=loop.accumulation(),
        ema=exponential_ramp(0.9999, 2000),
        steps=shared.as_count("epochs x steps_per_epoch", epochs * nb),
        steps_per_epoch=nb,
        batch_size=batch_size,
        nominal_batch_size=_NOMINAL_BATCH,
        notes=tuple(shared.longer_warmup(where, asked, nb, loop.warmup_steps)),
        origin={
            "lr": f"{where}: lr0 {lr0:g} x {batch_size} / ({processes} x {bs_per_gpu}), lrf, warmup_epochs "
            f"({loop.warmup_steps} iterations)",
            "bias.lr": f"{where}: warmup_bias_lr, then as the others",
            "weight.weight_decay": f"{where}: weight_decay {decay:g} x {batch_size} x {loop.gathered} / "
            f"{_NOMINAL_BATCH}",
        },
    )


def _read(config: Any) -> tuple[str, dict[str, Any]]:
    """The name of a config in errors, and what its statements assign."""
    given = shared.file_or_dict(config, "a config")
    if not isinstance(given, shared.File):
        return "config", given
    script = shared.Script(shared.Budget(), given.name)
    script.run(shared.parse_python(given).body)
    return given.name, script.results()
