"""What Lightning's Trainer (2.6.6) says of a run: its length, accumulation and clipping."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from jaxsched.ports import shared
from jaxsched.ports.torch.config._nodes import Node
from jaxsched.recipe import caution

_OTHERS_TEXT = """
    accelerator barebones benchmark callbacks check_val_every_n_epoch default_root_dir deterministic
    detect_anomaly devices enable_autolog_hparams enable_checkpointing enable_model_summary enable_progress_bar
    fast_dev_run gpus inference_mode limit_predict_batches limit_test_batches limit_val_batches log_every_n_steps logger
    max_time min_epochs min_steps model_registry num_nodes num_sanity_val_steps overfit_batches plugins precision
    profiler reload_dataloaders_every_n_epochs resume_from_checkpoint strategy sync_batchnorm use_distributed_sampler
    val_check_interval weights_save_path auto_lr_find auto_scale_batch_size move_metrics_to_cpu tpu_cores amp_backend
"""
_OTHERS = frozenset(_OTHERS_TEXT.split())
"""Arguments of the Trainer that are of devices, evaluation and logging."""
_CHANGERS = {
    "StochasticWeightAveraging": "it replaces the scheduler at swa_epoch_start",
    "GradientAccumulationScheduler": "it changes the batches per update",
    "LearningRateFinder": "it replaces the lr",
    "BackboneFinetuning": "it adds groups and changes their lr",
    "WeightAveraging": "it averages the parameters; see Recipe(ema=...)",
    "EMAWeightAveraging": "it averages the parameters; see Recipe(ema=...)",
}
"""Lightning's callbacks that affect what a recipe holds."""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What a recipe takes of the Trainer.

    Attributes:
        every: Batches per update.
        clip_norm: As in a recipe.
        clip_value: As in a recipe.
        max_epochs: None where there is no such limit.
        max_updates: None where there is no such limit.
        notes: What is left out.
    """

    every: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    max_epochs: int | None = None
    max_updates: int | None = None
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(where: str, values: Mapping[str, Any]) -> Trainer:
        a = shared.Settings(where, values)
        every = a.count("accumulate_grad_batches", 1, least=1)
        clip = a.number("gradient_clip_val", None, low=0.0)
        by = a.choice("gradient_clip_algorithm", ("norm", "value", None), None) or "norm"
        epochs, updates = a.number("max_epochs", None, low=-1), a.number("max_steps", -1, low=-1)
        notes = []
        if a.take("limit_train_batches", None) not in (None, 1.0):
            notes.append(
                f"{a.at('limit_train_batches')} is not applied: steps_per_epoch counts the batches that are used"
            )
        if epochs is None and updates == -1:
            epochs = 1000  # Lightning's default
        return Trainer(
            every,
            clip if clip and by == "norm" else None,
            clip if clip and by == "value" else None,
            None if epochs in (None, -1) else shared.as_count(a.at("max_epochs"), epochs),
            None if updates == -1 else shared.as_count(a.at("max_steps"), updates),
            (*notes, *a.rest(aside=_OTHERS)),
        )

    def length(self, where: str, steps_per_epoch: int | None) -> int | None:
        """Batches of the run; None if it has no end."""
        if self.max_updates is None and self.max_epochs is None:
            return None
        if steps_per_epoch is None and (self.max_updates is None or self.max_epochs is not None or self.every > 1):
            raise shared.MissingError(where, "it does not say how long an epoch is", ["steps_per_epoch"])
        lengths = []
        if self.max_updates is not None:
            if steps_per_epoch is None or self.every == 1:
                lengths.append(self.max_updates * self.every)
            else:
                epochs, rest = divmod(self.max_updates, -(-steps_per_epoch // self.every))
                lengths.append(epochs * steps_per_epoch + rest * self.every)
        if self.max_epochs is not None and steps_per_epoch is not None:
            lengths.append(self.max_epochs * steps_per_epoch)
        return shared.as_count(f"{where}: length in batches", min(lengths))


def callbacks(where: str, found: Iterable[Node]) -> list[str]:
    """Cautions on callbacks that change what a recipe holds."""
    return [
        caution("left-out", f"{where}: {node.path}: {node.short_name} is left out: {_CHANGERS[node.short_name]}")
        for node in found
        if node.short_name in _CHANGERS and ".callbacks." in node.name
    ]
