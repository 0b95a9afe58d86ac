"""The configs of ten more OpenMMLab packages: which are read, and that their lr is that of the originals."""

import collections
import json
import re
import warnings

import fetch_zoo as zoo
import numpy as np
import pytest

from jaxsched.ports import openmmlab
from jaxsched.ports.openmmlab._context import Run
from jaxsched.ports.openmmlab.config import read_config

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("originals")]

STEPS_PER_EPOCH = 20
MOST_STEPS = 40_000
"""Of a run that the real schedulers step through; longer ones are read and not compared."""
REFUSED = {
    "lies in the package": "inherits from a package that is not fetched",
    "does not exist": "inherits from a file that is not in the package",
    "layer decay is not known": "layer decay of other backbones",
    "end must be larger than begin": "a warm-up that is longer than the run of this test",
    "`_base_['test_pipeline']`": "a name that no base defines",
    "policy 'Reduce' is not known": "MMEditing's own policy, which follows a metric",
}
"""What a refusal says, and why; anything else fails the test."""
UNREAD = {
    "mmpretrain": 5,
    "mmseg": 0,
    "mmpose": 1,
    "mmyolo": 5,
    "mmaction": 0,
    "mmdet3d": 1,
    "mmselfsup": 0,
    "mmcls": 2,
    "mmflow": 0,
    "mmedit": 2,
}
"""Configs to train with that are refused."""


def outcome(path, packages):
    """The config and its recipe, or why there is none; of several optimizers the first."""
    config = read_config(path, packages=packages)
    optimizer = config.get("optimizer") or config.get("optimizers")
    given = {"steps_per_epoch": STEPS_PER_EPOCH, "depthwise": "**/depthwise_conv/**"}
    if isinstance(optimizer, dict) and "type" not in optimizer and all(isinstance(v, dict) for v in optimizer.values()):
        given["optimizer"] = next(iter(optimizer))
    try:
        return config, openmmlab.recipe(config, **given)
    except ValueError as error:  # the images in a batch, where the config needs them
        if "batch_size" not in str(error):
            raise
        return config, openmmlab.recipe(config, batch_size=64, **given)


@pytest.mark.parametrize("package", [*zoo.OTHERS, *zoo.OLDER])
def test_the_configs_of(package, capsys):
    packages = zoo.OTHERS | {"mmdet": zoo.ZOO / "mmdet3/mmdet"}
    folder = (zoo.OTHERS | zoo.OLDER)[package]
    table, compared, others = collections.Counter(), {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in zoo.configs(folder / ".mim/configs"):
            try:
                config, recipe = outcome(path, packages)
            except (TypeError, ValueError) as error:
                if "not one to train with" in str(error):
                    table["not to train with"] += 1
                    continue
                why = next((why for text, why in REFUSED.items() if text in str(error)), None)
                table[f"refused: {why}"] += 1
                if why is None:
                    others.append(f"{path.name}: {error}")
                continue
            table["read"] += 1
            part, run = schedulers(config), length(config)
            if part is not None and run.steps <= MOST_STEPS:
                compared.setdefault((json.dumps(part, sort_keys=True), run), (path, recipe))
    for (part, run), (path, recipe) in compared.items():
        check(json.loads(part), run, recipe, path)
    with capsys.disabled():
        print(f"\n{package}: {len(compared)} schedules compared at each step")
        for kind, count in table.most_common():
            print(f"  {count:4}  {kind}")
    assert not others
    assert sum(count for kind, count in table.items() if kind.startswith("refused")) == UNREAD[package]


def schedulers(config):
    """The lr_config, or the schedulers of lr that mmengine itself has; None where something else moves it."""
    if "optim_wrapper" not in config:
        return config.get("lr_config")
    found = config.get("param_scheduler") or []
    found = found if isinstance(found, list) else [found]
    hook = (config.get("default_hooks") or {}).get("param_scheduler") or {}
    others = "|".join([str(hook.get("type")), *(one["type"] for one in found)])
    if re.search("PPYOLOE|YOLOv5|QuadraticWarmup|LRRatio", others):
        return None
    return [one for one in found if one["type"].endswith("LR")]


def length(config):
    new = "optim_wrapper" in config
    loop = config.get("train_cfg" if new else "runner") or {}
    if not new:
        loop = {"max_epochs": config.get("total_epochs"), "max_iters": config.get("total_iters"), **loop}
    epochs = loop.get("max_epochs")
    return Run(epochs * STEPS_PER_EPOCH if epochs else loop["max_iters"], STEPS_PER_EPOCH, epochs)


def check(part, run, recipe, path):
    """The base lr is that of the group ``weight``, or of the first group: with absolute floors each has its own."""
    groups = recipe.by_group()
    schedule = groups["weight" if "weight" in groups else next(iter(groups))]["lr"]
    base = float(re.search(r": lr ([0-9.e+-]+)", recipe.origin["lr"])[1])
    base *= float(match[1]) if (match := re.search(r" x ([0-9.e+-]+);", recipe.origin["lr"])) else 1.0
    if "weight" not in groups:
        return
    if isinstance(part, dict):
        expected = zoo.mmcv_values(part, run, [base])[:, 0]
        got = np.asarray(schedule(np.arange(MOST_STEPS)), np.float64)[: run.steps]
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6 * 1e-6 * base, err_msg=str(path))
        return
    entries = [{key: value for key, value in one.items() if key != "_scope_"} for one in part]
    expected = zoo.mmengine_values(entries, run, [base])[:, 0] if entries else np.full(run.steps, base)
    got = np.asarray(schedule(np.arange(MOST_STEPS)))[: run.steps]
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-12, err_msg=str(path))
