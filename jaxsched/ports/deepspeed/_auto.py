"""The values "auto" of a config, which Hugging Face's Trainer fills in (transformers 5.23.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIZES = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
"""The sizes of a batch, of all processes, of one, and in batches per update; two of them are enough."""
_FILLED = {
    "lr": "learning_rate",
    "betas": "adam_beta1 and adam_beta2",
    "eps": "adam_epsilon",
    "weight_decay": "weight_decay",
    "warmup_max_lr": "learning_rate",
    "warmup_num_steps": "warmup_steps",
    "total_num_steps": "its number of updates",
    "gradient_clipping": "max_grad_norm",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size x gradient_accumulation_steps x processes",
}
"""What the Trainer writes in place of "auto"."""


def check_auto(where: str, content: Mapping[str, Any]) -> None:
    """Raise an error that names every "auto" which a recipe needs, with what fills it in.

    A ``warmup_min_lr`` is always 0, and of the sizes of a batch one is enough.
    """
    sizes = {name: content[name] for name in SIZES[:2] if content.get(name) is not None}
    if any(value != "auto" for value in sizes.values()):
        sizes = {}
    places: list[tuple[str, Mapping[str, Any]]] = [
        ("", {**{name: content.get(name) for name in SIZES[2:] + ("gradient_clipping",)}, **sizes})
    ]
    for section in ("optimizer", "scheduler"):
        values = content.get(section)
        params = values.get("params") if isinstance(values, Mapping) else None
        places.append((f"{section}.params.", params if isinstance(params, Mapping) else {}))
    found = [
        f"{place}{name} ({_FILLED[name]})"
        for place, values in places
        for name, value in values.items()
        if value == "auto" and name in _FILLED
    ]
    if found:
        raise ValueError(
            f'{where}: "auto" is filled in by Hugging Face\'s Trainer from its TrainingArguments; write the numbers of '
            f"{', '.join(found)}"
        )
