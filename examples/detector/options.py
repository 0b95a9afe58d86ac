"""Every option of the training, with its unit; tyro makes the command line from it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from examples.detector.model import SIZES

HYP = Path(__file__).with_name("hyp.yaml")
SCENES_HYP = Path(__file__).with_name("scenes.yaml")
# Options that are not given: their value with --data (as in YOLOv5) and for the embedded scenes.
DEFAULTS = {"hyp": (HYP, SCENES_HYP), "epochs": (100, 36), "image_size": (640, 128)}
DECIDE = (
    "epochs", "batch_size", "optimizer", "cos_lr", "seed", "depth", "width", "image_size", "bf16", "body_rate",
    "freeze", "single_class", "fused", "auto_anchor", "multi_scale",
)  # fmt: skip
LEFT_OUT = {"copy_paste": "it needs outlines, and boxes have none", "anchors": "the head has 3 anchors for each level"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxsched" / "compiled"


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a YOLOv5 detector with jaxsched.

    Without options: digits on photographs, generated on first use, a few minutes on two CPU cores.
    """

    data: Path | None = None
    """A data.yaml in YOLO's format, or a folder in YOLO's or COCO's layout; none: the embedded scenes, written to
    ./data/scenes."""
    strict: bool = False
    """Stop at the first image or label that cannot be used, instead of skipping its image with a note."""
    single_class: bool = False
    """Train and validate with all boxes as of one class."""
    out: Path = Path("runs/detector")
    """Folder for the logs, the pictures and the checkpoints."""
    resume: bool = False
    """Continue from the last checkpoint in `out`, with the same bits as if the run had not stopped."""

    hyp: Path | None = None
    """Any hyp.yaml of YOLOv5: learning rate, momentum, decay, warm-up, gains of the loss, augmentation; none: with
    --data the one that YOLOv5 publishes, otherwise that of the scenes."""
    epochs: int | None = None
    """Passes over the training images; none: 100 with --data, as in YOLOv5, otherwise 36."""
    batch_size: int = 16
    """Images in a batch, over all devices; gradients are accumulated up to 64 images."""
    optimizer: Literal["SGD", "Adam", "AdamW"] = "SGD"
    """Nesterov SGD, Adam, or AdamW, each as YOLOv5 sets it up."""
    cos_lr: bool = False
    """Decay the learning rate by half a cosine instead of a line."""
    patience: int = 100
    """Epochs without a better fitness (0.1 mAP@0.5 + 0.9 mAP@0.5:0.95) after which to stop; 0: never."""
    seed: int = 0
    """Of the network's initial values, the order of the images and their augmentation."""

    size: Literal["n", "s", "m", "l", "x"] = "n"
    """Size of the network."""
    depth: float | None = None
    """Multiple of the number of bottlenecks, instead of that of `size`."""
    width: float | None = None
    """Multiple of the number of channels, instead of that of `size`."""
    image_size: int | None = None
    """Width and height of the network's input, in pixels; a multiple of 32. None: 640 with --data, as in YOLOv5,
    otherwise 128."""
    multi_scale: bool = False
    """Resize each training batch to a random one of up to five sizes, from half to 1.5 times `image_size`."""
    auto_anchor: bool = True
    """Fit the anchors to the boxes where YOLOv5's own reach fewer than 98 % of them."""
    bf16: bool = False
    """Compute in bfloat16; parameters, statistics and the loss stay float32."""
    fused: bool = True
    """Batch norm, SiLU and convolutions in the forms of fused.py: on a CPU 30 % faster, in half the memory."""

    weights: Path | None = None
    """Start from these weights: the folder of another run, an .npz, or a .pt of YOLOv5."""
    body_rate: float = 1.0
    """Learning rate of all but the head, as a multiple of the head's; 0.1 to 0.2 is usual for fine-tuning."""
    freeze: tuple[str, ...] = ()
    """Paths of parameters not to train, such as 'backbone/**'; as in YOLOv5, batch norm's statistics still move."""

    rectangular: bool = True
    """Validate with batches just large enough for their images, as YOLOv5; otherwise with squares, for which the
    network is compiled once instead of once for each shape."""
    evaluate_every: int = 5
    """Epochs between evaluations on the validation images; the last epoch is always evaluated."""
    save_period: int = 0
    """Interval in epochs at which checkpoints are kept, beside the last two and the best; 0 keeps only those."""
    log_ratios: bool = False
    """Log the norm of the update over the norm of the parameters, for each group ("ratio/GROUP")."""
    tensorboard: bool = False
    """Log for TensorBoard too."""

    workers: int = 0
    """Processes that load and augment images; 0: threads of this process."""
    threads: int = 2
    """Threads that load and augment images, of each process."""
    cache: float = 2.0
    """Decoded images to keep in memory, in GiB, of each process."""
    distributed: bool = False
    """Join the other processes of this run (jax.distributed), each started with this option and the same others."""
    coordinator: str | None = None
    """With --distributed, host:port of process 0, reachable from all; none: found by jax from the cluster (Slurm, Open
    MPI, Kubernetes, Cloud TPU), as are the next two."""
    processes: int | None = None
    """With --distributed, how many processes the run has, over all hosts."""
    process: int | None = None
    """With --distributed, the number of this process: 0 to processes - 1, each once."""
    compilation_cache: Path | None = CACHE
    """Folder of compiled programs, which makes the next run start sooner."""

    def __post_init__(self) -> None:
        for name, (with_data, for_scenes) in DEFAULTS.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, for_scenes if self.data is None else with_data)
        for name in ("epochs", "batch_size", "evaluate_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1.")
        for name in ("patience", "save_period", "workers", "cache"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 0.")
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"--image-size is {self.image_size}; it must be a multiple of 32, the largest stride.")
        if not self.body_rate > 0:
            raise ValueError(
                f"--body-rate is {self.body_rate}; it must be above 0 (use --freeze to train the head alone)."
            )
        cluster = {name: getattr(self, name) for name in ("coordinator", "processes", "process")}
        given = [f"--{name}" for name, value in cluster.items() if value is not None]
        if given and not self.distributed:
            raise ValueError(f"{' '.join(given)}: used only with --distributed. Add it, or leave them out.")
        if given and len(given) < len(cluster):
            raise ValueError(f"only {' '.join(given)} given; give --coordinator, --processes and --process, or none.")
        if given and not 0 <= self.process < self.processes:  # type: ignore[operator]
            raise ValueError(f"--process is {self.process}; it must be from 0 to --processes - 1.")

    def decisive(self) -> dict[str, Any]:
        """What decides a run's numbers, as JSON holds it: these options and the contents of the hyp.yaml."""
        depth, width = self.multiples
        options = {name: getattr(self, name) for name in DECIDE} | {"depth": depth, "width": width}
        options = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        return json.loads(json.dumps(options | {f"--hyp: {k}": v for k, v in read_hyp(self.hyp).items()}))

    def as_opt_yaml(self) -> str:
        """The opt.yaml of YOLOv5 that asks for the same recipe, for ``jaxsched verify``."""
        names = {"epochs": self.epochs, "batch_size": self.batch_size, "optimizer": self.optimizer,
                 "cos_lr": self.cos_lr, "imgsz": self.image_size, "hyp": read_hyp(self.hyp)}  # fmt: skip
        return yaml.safe_dump(names, sort_keys=False)

    @property
    def multiples(self) -> tuple[float, float]:
        """Depth and width."""
        depth, width = SIZES[self.size]
        return depth if self.depth is None else self.depth, width if self.width is None else self.width


def read_hyp(path: Path) -> dict[str, float]:
    """A hyp.yaml's numbers; ``5e-4``, which YAML reads as a string, is one too."""
    if not path.is_file():
        raise ValueError(f"--hyp {path}: there is no such file.")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--hyp {path} is no YAML ({' '.join(str(error).split())[:200]}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"--hyp {path} must hold lines such as 'lr0: 0.01', not {type(content).__name__}.")
    hyp = {}
    for name, value in content.items():
        try:
            hyp[name] = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"--hyp {path}: {name} is {repr(value)[:80]}; it must be a number.") from None
    return hyp


def check_the_same(now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Whether a resumed run has the options it began with; an error names those that differ."""
    differ = [name for name in sorted(now.keys() | then.keys()) if now.get(name) != then.get(name)]
    if differ:
        raise ValueError(
            "--resume: the run began with "
            + ", ".join(f"{name} {then.get(name)} (now {now.get(name)})" for name in differ)
            + ". Resume with the options it began with, or start another --out with --weights."
        )


def left_out(hyp: Mapping[str, float]) -> list[str]:
    """What a hyp.yaml asks for and this training does not do, in words."""
    return [f"--hyp: {name} {hyp[name]:g} is left out: {why}" for name, why in LEFT_OUT.items() if hyp.get(name)]
