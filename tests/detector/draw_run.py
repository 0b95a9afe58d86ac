"""Draws our loss over YOLOv5's for the recorded runs: ``python -m tests.detector.draw_run picture.png``."""

import sys

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from tests.detector.recorded import recorded
from tests.detector.test_run import SCRATCH, WARM, relative, run


def main(path):
    golden = recorded("train_run")
    figure, axes = plt.subplots(2, 4, figsize=(15, 6), layout="constrained", sharex=True, height_ratios=(2, 1))
    for (above, below), name in zip(axes.T, (*WARM, *SCRATCH), strict=True):
        ours, theirs = run(name, "float32")[0]["loss"], golden[f"{name}/loss"]
        above.plot(theirs, lw=4, color="lightgrey", label="YOLOv5 (torch)")
        above.plot(ours, lw=1, color="tab:blue", label="this example (jaxsched)")
        above.set(title=name, ylabel="loss" if name == WARM[0] else None)
        below.semilogy(np.maximum(relative(ours, theirs), 1e-8), lw=1, label="float32")
        if name in WARM:
            double = run(name, "float64")[0]["loss"]
            difference = relative(double, golden[f"{name}/float64/loss"])
            below.semilogy(np.maximum(difference, 1e-17), lw=1, label="float64")
        below.set(xlabel="iteration", ylabel="relative difference" if name == WARM[0] else None)
        below.legend()
        for axis in (above, below):
            axis.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1])
