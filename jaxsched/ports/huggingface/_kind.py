"""The files that the port reads: TrainingArguments in JSON or YAML, and the command lines of scripts that take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxsched.ports.huggingface._recipe import NAMES, recipe
from jaxsched.ports.shared import File, Kind, parse_words

_MARKS = {
    "per_device_train_batch_size",
    "per_gpu_train_batch_size",
    "num_train_epochs",
    "lr_scheduler_type",
    "gradient_accumulation_steps",
    "micro_batch_size",
}


def _fits(file: File) -> bool:
    """Whether a file has names of TrainingArguments alone; a config of DeepSpeed shares some, and has sections."""
    sections = isinstance(file.mapping.get("optimizer"), dict) or "zero_optimization" in file.names
    return bool(_MARKS & file.names) and not sections


def _settings(words: Sequence[str]) -> Mapping[str, Any]:
    given: Mapping[str, Any] = parse_words(words, NAMES)
    return given


KINDS = (
    Kind(
        "huggingface",
        "TrainingArguments of Hugging Face",
        _fits,
        recipe,
        ("training_args.json", "training_args.yaml", "training_args.bin", "checkpoint-*/training_args.bin"),
        _settings,
    ),
)
