"""The arguments of timm's train.py, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Any] = {
    "opt": "sgd",
    "opt_eps": None,
    "opt_betas": None,
    "momentum": 0.9,
    "weight_decay": 2e-5,
    "clip_grad": None,
    "clip_mode": "norm",
    "layer_decay": None,
    "layer_decay_min_scale": 0.0,
    "layer_decay_no_opt_scale": None,
    "sched": "cosine",
    "sched_on_updates": False,
    "lr": None,
    "lr_base": 0.1,
    "lr_base_size": 256,
    "lr_base_scale": "",
    "lr_noise": None,
    "lr_cycle_mul": 1.0,
    "lr_cycle_decay": 0.5,
    "lr_cycle_limit": 1,
    "lr_k_decay": 1.0,
    "lr_decay_fn": None,
    "lr_stable_timescale": None,
    "warmup_lr": 1e-5,
    "min_lr": 0.0,
    "epochs": 300,
    "decay_milestones": (90, 180, 270),
    "decay_epochs": 90,
    "warmup_epochs": 5,
    "warmup_prefix": False,
    "cooldown_epochs": 0,
    "patience_epochs": 10,
    "decay_rate": 0.1,
    "eval_metric": "top1",
    "batch_size": 128,
    "grad_accum_steps": 1,
    "model_ema": False,
    "model_ema_decay": 0.9998,
    "model_ema_warmup": False,
}
"""What train.py's arguments that a recipe is made of are where nothing is said."""

_OTHERS_TEXT = """
    data data_dir dataset train_split val_split train_num_samples val_num_samples dataset_download
    dataset_trust_remote_code class_map input_img_mode input_key target_key model pretrained pretrained_path
    initial_checkpoint resume no_resume_opt num_classes gp img_size in_chans input_size crop_pct mean std
    interpolation validation_batch_size channels_last fuser grad_checkpointing fast_norm model_kwargs
    head_init_scale head_init_bias torchcompile_mode torchscript torchcompile device amp amp_dtype amp_impl
    model_dtype no_ddp_bb synchronize_step local_rank device_modules opt_kwargs opt_args opt_foreach lr_noise_pct
    lr_noise_std seed epoch_repeats start_epoch no_aug train_crop_mode scale ratio hflip vflip color_jitter
    color_jitter_prob grayscale_prob gaussian_blur_prob aa aug_repeats aug_splits jsd_loss bce_loss bce_sum
    bce_target_thresh bce_pos_weight reprob remode recount resplit mixup cutmix cutmix_minmax mixup_prob
    mixup_switch_prob mixup_mode mixup_off_epoch smoothing train_interpolation drop drop_connect drop_path
    drop_block bn_momentum bn_eps sync_bn dist_bn split_bn model_ema_force_cpu worker_seeding log_interval
    recovery_interval checkpoint_hist workers save_images pin_mem no_prefetcher output experiment tta
    use_multi_epochs_loader log_wandb wandb_project wandb_tags wandb_resume_id naflex_loader distributed world_size
    rank prefetcher config
"""
OTHERS = tuple(_OTHERS_TEXT.split())
"""Arguments of data, model, augmentation, loss and logging."""
NAMES = frozenset({*DEFAULTS, *OTHERS})
"""Arguments of train.py."""
OF_OTHER_SCRIPTS = ("data_path", "unscale_lr", "blr", "accum_iter", "update_freq", "dist_eval")
"""Settings that tell a file or a line of such a script."""
