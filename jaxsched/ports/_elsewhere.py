"""Files of systems that have no port: each is recognised, so that it is not taken for another, and refused by name."""

from __future__ import annotations

import re

from jaxsched.ports.shared import File, Kind

_BY_HAND = "no port reads it; write the recipe with js.Recipe, or with the schedules of"


def _section(file: File, name: str, *keys: str) -> bool:
    """Whether a section has at least one of the keys."""
    inside = file.mapping.get(name)
    return isinstance(inside, dict) and any(key in inside for key in keys)


def _is_other_solver(file: File) -> bool:
    names = ("MAX_EPOCH", "MAX_EPOCHS", "LR_POLICY", "OPTIMIZING_METHOD", "OPT", "SCHED", "OPTIMIZER_NAME")
    return _section(file, "SOLVER", *names)


def _is_maskrcnn_benchmark(file: File) -> bool:
    model = file.mapping.get("MODEL")
    backbone = model.get("BACKBONE") if isinstance(model, dict) else None
    own = _section(file, "MODEL", "WEIGHT") or (isinstance(backbone, dict) and "CONV_BODY" in backbone)
    return own and not _section(file, "MODEL", "WEIGHTS")


def _is_d2go(file: File) -> bool:
    return bool({"D2GO_DATA", "QUANTIZATION"} & file.names) or _section(file, "MODEL", "FBNET_V2")


def _is_paddlevit(file: File) -> bool:
    return _section(file, "TRAIN", "NUM_EPOCHS", "WARMUP_START_LR", "END_LR", "LINEAR_SCALED_LR", "GRAD_CLIP")


def _is_dassl(file: File) -> bool:
    return _section(file, "OPTIM", "NAME") and _section(file, "OPTIM", "MAX_EPOCH", "LR_SCHEDULER", "LR")


def _is_hrnet(file: File) -> bool:
    return _section(file, "TRAIN", "LR_STEP", "LR_FACTOR") and _section(file, "TRAIN", "BEGIN_EPOCH", "END_EPOCH", "LR")


def _is_dino(file: File) -> bool:
    return _section(file, "optim", "base_lr", "lr") and {"dino", "ibot", "crops"} <= file.names


def _is_lazy_config(file: File) -> bool:
    imports = r"^\s*from (detectron2|omegaconf|detrex)\b|\bLazyCall\b|\bmodel_zoo\.get_config\("
    return file.path.suffix in (".py", "") and re.search(imports, file.text, re.MULTILINE) is not None


def _is_llama_factory_v1(file: File) -> bool:
    return "micro_batch_size" in file.names and bool({"model_class", "batching_strategy"} & file.names)


def _is_tuned(file: File) -> bool:
    tuned = {"lr0", "lrf", "box", "cls", "dfl"} <= file.names
    return tuned and not {"task", "mode", "epochs", "batch", "obj", "warmup_bias_lr", "anchor_t"} & file.names


def _is_yolo_classifier(file: File) -> bool:
    return {"lr0", "decay", "cutoff", "batch_size"} <= file.names


KINDS = (
    Kind(
        "ultralytics-tune",
        "the result of an Ultralytics tune",
        _is_tuned,
        refusal="it has no epochs and no batch; give the args.yaml of the run that was trained with it",
    ),
    Kind(
        "lazyconfig",
        "a LazyConfig of Detectron2, which is a program",
        _is_lazy_config,
        refusal="save it with LazyConfig.save, and write lr_multiplier with the schedulers of js.ports.detectron2",
    ),
    Kind(
        "other-solver",
        "a config with another SOLVER than Detectron2's (fast-reid's, SlowFast's)",
        _is_other_solver,
        refusal=f"{_BY_HAND} jaxsched.schedules",
    ),
    Kind(
        "maskrcnn-benchmark",
        "a config of maskrcnn-benchmark, whose defaults are not Detectron2's",
        _is_maskrcnn_benchmark,
        refusal="set what SOLVER leaves out (BIAS_LR_FACTOR is 2 there), and give it as a dict to "
        "js.ports.detectron2.recipe",
    ),
    Kind(
        "d2go",
        "a config of D2Go, whose defaults are not Detectron2's",
        _is_d2go,
        refusal="give it as a dict to js.ports.detectron2.recipe with what D2Go sets (REFERENCE_WORLD_SIZE 8, "
        "WEIGHT_DECAY_EMBED 0), and add the average of MODEL_EMA",
    ),
    Kind(
        "paddlevit",
        "a config of PaddleViT, whose settings are not Swin-Transformer's",
        _is_paddlevit,
        refusal=f"{_BY_HAND} jaxsched.schedules",
    ),
    Kind("dassl", "a config of Dassl (CoOp)", _is_dassl, refusal=f"{_BY_HAND} js.ports.torch"),
    Kind("hrnet", "a config of HRNet", _is_hrnet, refusal=f"{_BY_HAND} js.ports.torch (MultiStepLR)"),
    Kind("dinov2", "a config of DINOv2", _is_dino, refusal=f"{_BY_HAND} jaxsched.schedules"),
    Kind(
        "yolov5-classify",
        "an opt.yaml of YOLOv5's classify/train.py, which has no warm-up and no hyp",
        _is_yolo_classifier,
        refusal=f"{_BY_HAND} js.per_epoch(js.linear(lr0, 0.01 * lr0, epochs), steps_per_epoch)",
    ),
    Kind(
        "llama-factory-v1",
        "a config of LLaMA-Factory's v1 trainer, which is not the Trainer of Hugging Face",
        _is_llama_factory_v1,
        refusal=f"{_BY_HAND} js.ports.huggingface",
    ),
)
