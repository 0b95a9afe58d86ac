"""Files within the limits that are extreme in one direction: each is shown or refused, soon and in little memory.

The fast tests compare what is refused and how long the answers are; the slow one, which runs this file as a program,
measures time and memory, with generous bounds.
"""

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli import _source
from jaxsched.cli._app import app
from jaxsched.report import _curves

YOLOV5 = (
    "lr0: 0.01\nlrf: 0.01\nmomentum: 0.937\nweight_decay: 5e-4\nwarmup_epochs: 3.0\nwarmup_momentum: 0.8\n"
    "warmup_bias_lr: 0.1\nbox: 0.05\n"
)
ULTRALYTICS = (
    "task: detect\nmode: train\nepochs: 100\nbatch: 16\nnbs: 64\noptimizer: SGD\nlr0: 0.01\nwarmup_epochs: 3\n"
)
TIMM = "opt: adamw\nsched: cosine\nlr: 1e-3\nepochs: 10\nwarmup_epochs: 2\n"
HUGGINGFACE = (
    "learning_rate: 1e-4\nlr_scheduler_type: cosine\nwarmup_steps: 10\nnum_train_epochs: 3\noptim: adamw_torch\n"
)
DETECTRON2 = "SOLVER:\n  BASE_LR: 0.02\n  MAX_ITER: 90000\n  STEPS: [60000, 80000]\n  IMS_PER_BATCH: 16\n"
MMCV = (
    "optimizer = dict(type='SGD', lr=0.1)\nlr_config = dict(policy='step', step=[8, 11])\n"
    "runner = dict(type='EpochBasedRunner', max_epochs=12)\n"
)
MMENGINE = (
    "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\ntrain_cfg = dict(max_epochs=12)\nparam_scheduler = "
)
KERAS = '{"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 1000}}'
RUN = dict(steps_per_epoch=100)
GIVEN = {
    "yolov5": dict(RUN, epochs=3, batch_size=4),
    "ultralytics": dict(RUN, classes=2, outputs="last"),
    "timm": RUN,
    "huggingface": RUN,
    "openmmlab": RUN,
    "keras": dict(steps=5000),
}
YAML = {
    "yolov5": YOLOV5,
    "ultralytics": ULTRALYTICS,
    "timm": TIMM,
    "huggingface": HUGGINGFACE,
    "detectron2": DETECTRON2,
}
RATE = {
    "yolov5": "lr0: 0.01",
    "ultralytics": "lr0: 0.01",
    "timm": "lr: 1e-3",
    "huggingface": "learning_rate: 1e-4",
    "detectron2": "BASE_LR: 0.02",
}
COSINE = '{"$schedule": "cosine", "peak": 0.1, "steps": 100}'


def recipe(lr, steps=6000):
    return f'{{"$recipe": 1, "optimizer": "sgd", "steps": {steps}, "hyperparameters": {{"lr": {lr}}}}}'


def nested(depth, before, after="}"):
    return recipe(before * depth + "0.1" + after * depth)


def lines(number):
    one = "dict(type='LinearLR', start_factor=0.5, begin={0}, end={0} + 2, by_epoch=False)"
    return MMENGINE + f"[{', '.join(one.format(2 * i) for i in range(number))}]\n"


def groups(number):
    own = {f"g{i}": {"lr": {"$schedule": "cosine", "peak": 0.1 + i, "steps": 6000}} for i in range(number)}
    rules = [{"$rule": f"a{i}/**", "group": f"g{i}"} for i in range(number)]
    content = {"$recipe": 1, "optimizer": "sgd", "steps": 6000, "hyperparameters": {"lr": 0.1}}
    return json.dumps({**content, "groups": own, "rules": rules})


def read(kind, text, **given):
    ending = {"openmmlab": "py", "recipe": "json", "keras": "json"}.get(kind, "yaml")
    found = next(one for one in _source.kinds() if one.name == kind)
    return _source.read_file(
        _source.File(Path(f"file.{ending}"), text), found, _source.Given({**GIVEN.get(kind, {}), **given})
    )


MANY = list(range(1, 20_000))
SHOWN = {
    "milestones": ("openmmlab", MMCV.replace("[8, 11]", "list(range(1, 20000))").replace("12", "30000"), {}),
    "pieces": ("recipe", recipe(json.dumps({"$schedule": "piecewise", "values": [0.1] * 5001, "at": MANY[:5000]})), {}),
    "epochs, yolov5": ("yolov5", YOLOV5, dict(epochs=20_000_000)),
    "epochs, ultralytics": ("ultralytics", ULTRALYTICS.replace("100", "20000000"), {}),
    "epochs, timm": ("timm", TIMM.replace("10", "20000000"), {}),
    "epochs, huggingface": ("huggingface", HUGGINGFACE.replace("epochs: 3", "epochs: 20000000"), {}),
    "epochs, openmmlab": ("openmmlab", MMCV.replace("12", "20000000"), {}),
    "iterations, detectron2": ("detectron2", DETECTRON2.replace("90000", "2000000000"), {}),
    "nbs": ("ultralytics", ULTRALYTICS.replace("nbs: 64", "nbs: 65536"), {}),
    "warm-up, ultralytics": ("ultralytics", ULTRALYTICS.replace("epochs: 3", "epochs: 1.0e+7"), {}),
    "warm-up, yolov5": ("yolov5", YOLOV5.replace("3.0", "1.0e+7"), dict(epochs=20_000_000)),
    "warm-up, timm": ("timm", "epochs: 20000000\nwarmup_epochs: 10000000\nsched: cosine\nopt: sgd\nlr: 0.1\n", {}),
    "cycles, timm": ("timm", TIMM.replace("epochs: 10", "epochs: 1") + "lr_cycle_limit: 10000000\n", {}),
    "one step to a cycle": ("recipe", recipe('{"$schedule": "cyclic", "low": 0.1, "high": 1, "up": 1}', 2**31 - 1), {}),
    "nested": ("recipe", nested(60, '{"$schedule": "warmup", "steps": 10, "schedule": '), {}),
    "a product": ("recipe", recipe(f'{{"$schedule": "product", "schedules": [{", ".join([COSINE] * 2000)}]}}'), {}),
    "schedulers": ("openmmlab", lines(300), {}),
    "groups": ("recipe", groups(1000), {}),
    "names": ("timm", TIMM + "".join(f"k{i}: {i}\n" for i in range(60_000)), {}),
    "a table": ("recipe", recipe(json.dumps({"$schedule": "table", "values": [0.1] * 300_000}), 300_000), {}),
}  # fmt: skip
REFUSED = {
    "nested, 1,024": ("recipe", nested(1024, '{"$schedule": "warmup", "steps": 10, "schedule": '), "too deep|64 deep"),
    "nested, 70": ("recipe", nested(70, '{"$schedule": "product", "schedules": [2, ', "]}"), "64 deep"),
    "100,000 milestones": ("timm", TIMM.replace("cosine", "multistep") + f"decay_milestones: {list(range(1, 10**5))}\n",
                           "at must have at most 32,768 steps, got 99,999"),
    "40,000 pieces": ("keras", '{"class_name": "PiecewiseConstantDecay", "config": {"boundaries": '
                      f'{list(range(1, 40_000))}, "values": {[0.1] * 40_000}}}}}', "at most 32,768 steps"),
    "5,000 schedules": ("recipe", recipe(f'{{"$schedule": "product", "schedules": [{", ".join([COSINE] * 5000)}]}}'),
                        "made of more than 4,096 schedules"),
    "5,000 groups": ("recipe", groups(5000), "groups must have at most 4,096 entries, got 5,000"),
    "5,000 keys": ("openmmlab", MMCV.replace("lr=0.1", "lr=0.1, paramwise_cfg=dict(custom_keys=dict("
                   + ", ".join(f"k{i}=dict(lr_mult={i})" for i in range(5000)) + "))"), "at most 1000 custom_keys"),
    "3,000 periods": ("openmmlab", MMENGINE + "[dict(type='CosineRestartLR', periods=list(range(1, 3000)), "
                      "restart_weights=[1] * 2999, eta_min=0.1)]\n", "at most 500 periods are read, got 2999"),
    "10**8 cycles": ("keras", KERAS.replace("CosineDecay", "CosineDecayRestarts")
                     .replace('"decay_steps": 1000', '"first_decay_steps": 1, "t_mul": 1.0000001'), "1000 cycles"),
    "cycles of unequal lengths": ("timm", TIMM + "lr_cycle_limit: 20000\nlr_cycle_mul: 1.0001\n", "at most 1000"),
    "restarts": ("huggingface", HUGGINGFACE.replace("cosine", "cosine_with_restarts")
                 + "lr_scheduler_kwargs: {num_cycles: 10000000}\n", r"num_cycles must be in \(0, 1000\]"),
    "steps of detectron2": ("detectron2", DETECTRON2.replace("[60000, 80000]", str(MANY)), "must be at most 1000"),
    "batches per update": ("ultralytics", ULTRALYTICS.replace("nbs: 64", "nbs: 2000000000"), "must be at most 4096"),
    "more bytes than settings have": ("timm", TIMM + f"x: {'x' * 2**20}\n", "more than 1048576 bytes"),
    **{f"sexagesimal, {kind}": (kind, text.replace(RATE[kind], f"{RATE[kind].split(':')[0]}: 1{':1' * 450_000}"),
                                "must be finite, got inf") for kind, text in YAML.items()},
    **{f"a name twice, {kind}": (kind, text + text.splitlines()[-1] + "1\n", "appears twice")
       for kind, text in YAML.items()},
    "a name twice, keras": ("keras", KERAS.replace("{", '{"class_name": "CosineDecay", ', 1), "appears twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_take_long_is_refused(name):
    kind, text, message = REFUSED[name]
    assert len(text) < 1.2e6
    with pytest.raises(ValueError, match=message) as error:
        read(kind, text)
    assert len(str(error.value)) < 400


# The others are Python, sections as in an INI file, and protobuf's text format.
OTHERS = ("openmmlab", "yolov6", "yolox", "darknet", "tfod", "big_vision", "scenic")
PORTS = [kind for kind in _source.kinds() if kind.read and kind.name not in OTHERS]


@pytest.mark.parametrize("kind", PORTS, ids=lambda kind: kind.name)
def test_every_port_refuses_a_name_that_is_there_twice(kind):
    options = {name: GIVEN.get(kind.name, {}).get(name, 1) for name, option in kind.options.items() if option.required}
    texts = {"a.json": '{"$recipe": 1, "lr": 1, "lr": 2}', "a.yaml": "lr: 1\nlr: 2\n"}
    for name, text in list(texts.items())[: 1 if kind.name == "recipe" else 2]:
        with pytest.raises(ValueError, match="twice"):
            _source.read_file(_source.File(Path(name), text), kind, _source.Given(options, kind.name))


def shown(name, folder, command="show"):
    kind, text, given = SHOWN[name]
    path = Path(folder) / f"file.{'py' if kind == 'openmmlab' else 'json' if text.startswith('{') else 'yaml'}"
    path.write_text(text, encoding="utf-8")
    options = [
        word
        for option, value in {**GIVEN.get(kind, {}), **given}.items()
        for word in (_source.flag(option), str(value))
    ]
    return CliRunner().invoke(app, [command, str(path), "--as", kind, *options])


@pytest.mark.parametrize("name", ["milestones", "pieces", "epochs, ultralytics", "warm-up, timm"])
def test_what_is_long_is_shown_in_short(name, tmp_path):
    result = shown(name, tmp_path)
    assert result.exit_code == 0, result.output
    assert len(result.output) < 20_000  # not each milestone is written: 5,000 would be 40,000 characters


def test_a_large_schedule_is_compiled_in_its_parts():
    """XLA takes 70 s for a product of 300 cosines. One is compiled once, for all of a kind."""
    many = js.schedules.product(*(js.cosine(0.5 + i / 1000, 100 + i) for i in range(60)))
    before = _curves._alone._cache_size()
    steps = np.arange(64)
    (found,) = _curves.values_at([many], steps)
    assert _curves._alone._cache_size() == before + 1
    expected = np.prod([np.asarray(part(steps), float) for part in many.arguments["schedules"]], axis=0)
    np.testing.assert_allclose(found, expected, rtol=60 * 2**-23)


def test_findings_that_are_many_are_cut():
    found = js.lint(js.Recipe("sgd", dict(lr=js.multi_step(0.1, tuple(range(100, 5000)))), steps=50))
    assert len(found) < 30
    assert "there are more such findings" in str(found)


SECONDS, MEGABYTES = 60, 1500
"""The bounds of the slow test: the aim is 10 s and 1 GB, and machines differ."""


@pytest.mark.slow
def test_time_and_memory(tmp_path):
    words = [sys.executable, __file__, str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=len(SHOWN) * SECONDS, check=True)
    measured = json.loads(ran.stdout.splitlines()[-1])
    assert set(measured) == set(SHOWN)
    for name, (seconds, megabytes, status, length) in measured.items():
        assert status in (0, 1), name
        assert seconds < SECONDS, name
        assert megabytes < MEGABYTES, name
        assert length < 40_000, name


def peak_megabytes():
    """Most memory that this program had. On Linux getrusage may give that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(folder):
    measured = {}
    for name in SHOWN:
        begin = time.process_time()
        result = shown(name, folder)
        measured[name] = time.process_time() - begin, peak_megabytes(), result.exit_code, len(result.output)
        print(name, measured[name], result.output[-200:] if result.exit_code else "", file=sys.stderr, flush=True)
    print(json.dumps(measured))


if __name__ == "__main__":
    main(sys.argv[1])
