"""Read a YOLOv5 hyp.yaml and see what it does to each group, epoch by epoch.

Run: python examples/yolov5_hyp.py [path/to/hyp.yaml]
"""

import argparse
from pathlib import Path

import jaxsched as js

HYP = Path(__file__).parent / "detector" / "hyp.yaml"


def main(path: str | Path = HYP) -> None:
    epochs, steps_per_epoch = 30, 200
    recipe = js.ports.yolov5.recipe(path, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=16, version="7.0")
    curves, updates = js.curves(recipe), js.report.update_steps(recipe)

    print(f"{recipe.steps} steps, {int(updates.sum())} updates, batches gathered up to 64 images")
    print(f"{'epoch':>5}  " + "  ".join(f"{'lr ' + group:>10}" for group in curves) + "    momentum  updates")
    for epoch in range(epochs):
        last = (epoch + 1) * steps_per_epoch - 1
        rates = "  ".join(f"{values['lr'][last]:10.6f}" for values in curves.values())
        done = int(updates[epoch * steps_per_epoch : last + 1].sum())
        print(f"{epoch:5}  {rates}  {curves['weight']['momentum'][last]:10.4f}  {done:7}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default=HYP, help="a hyp.yaml")
    main(parser.parse_args().path)
