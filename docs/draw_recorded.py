"""Draws docs/pictures/recorded_lr.png: YOLOv5's recorded learning rates under the curve of the ported recipe.

python docs/draw_recorded.py
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxsched as js

DOCS = Path(__file__).parent
RECORDED = json.loads((DOCS.parent / "tests" / "recorded" / "yolov5_schedules.json").read_text(encoding="utf-8"))
NAME = "sgd_lin_bs8_e30_nb7"


def main() -> None:
    (run,) = (run for run in RECORDED["runs"] if run["name"] == NAME)
    recipe = js.ports.yolov5.recipe(
        run["hyp"], epochs=run["epochs"], steps_per_epoch=run["nb"], batch_size=run["batch_size"]
    )
    steps = np.arange(recipe.steps)
    curves, logged = js.curves(recipe, steps), run["series"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True)
    for ax, group in zip(axes, ("bias", "weight"), strict=True):
        ax.plot(logged["ni"][::3], logged[f"lr_{group}"][::3], "o", color="C1", markersize=5, label="YOLOv5's train.py")
        ax.plot(steps, curves[group]["lr"], color="C0", label="jaxsched")
        ax.set(xlabel="iteration", title=f"learning rate of the group {group}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(DOCS / "pictures" / "recorded_lr.png", dpi=110)


if __name__ == "__main__":
    main()
