"""Whatever a file holds, the command gives a recipe or one line that names what is wrong, and soon."""

import json
import random
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli import _source
from jaxsched.cli._app import app
from jaxsched.ports.shared._yaml import parse_yaml

OPTIONS = dict(steps_per_epoch=7, epochs=3, batch_size=4, images=100, classes=2, optimizer="SGD", outputs="last")
STARTS = {
    "yolov5": "lr0: 0.01\nlrf: 0.01\nmomentum: 0.937\nweight_decay: 5e-4\nwarmup_epochs: 3.0\nwarmup_momentum: 0.8\n"
    "warmup_bias_lr: 0.1\nbox: 0.05\n",
    "ultralytics": "task: detect\nmode: train\nepochs: 100\nbatch: 16\nnbs: 64\noptimizer: auto\nlr0: 0.01\nlrf: 0.01\n"
    "warmup_epochs: 3\ncos_lr: true\n",
    "timm": "opt: adamw\nsched: cosine\nlr: 1e-3\nepochs: 10\nwarmup_epochs: 2\nlr_cycle_mul: 2.0\nlr_cycle_limit: 3\n"
    "layer_decay: null\ndecay_milestones: [3, 5]\nopt_betas: [0.9, 0.99]\nmodel_ema: true\n",
    "huggingface": "learning_rate: 1e-4\nlr_scheduler_type: cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: 2}"
    "\nwarmup_steps: 10\nnum_train_epochs: 3\nmax_steps: -1\ngradient_accumulation_steps: 2\noptim: adamw_torch\n",
    "detectron2": "MODEL: {META_ARCHITECTURE: RetinaNet}\nSOLVER:\n  BASE_LR: 0.02\n  MAX_ITER: 90000\n"
    '  STEPS: "(60000, 80000)"\n  IMS_PER_BATCH: 16\n  WARMUP_ITERS: 1000\n  GAMMA: 0.1\n'
    "  CLIP_GRADIENTS: {ENABLED: true, CLIP_VALUE: 1.0}\n",
    "deepspeed": "train_batch_size: 32\ntrain_micro_batch_size_per_gpu: 4\ngradient_accumulation_steps: 8\n"
    "gradient_clipping: 1.0\noptimizer: {type: Adam, params: {lr: 1e-3, betas: [0.9, 0.99], weight_decay: 0.1}}\n"
    "scheduler: {type: OneCycle, params: {cycle_min_lr: 1e-4, cycle_max_lr: 1e-3, cycle_first_step_size: 10,\n"
    "  cycle_first_stair_count: 5, decay_step_size: 10, decay_lr_rate: 0.1, decay_mom_rate: 0.0}}\n",
    "torch": "trainer: {max_epochs: 9, accumulate_grad_batches: 2, gradient_clip_val: 1.0, a: 7}\nmodel:\n"
    "  optimizer: {_target_: torch.optim.SGD, lr: 1e-3, momentum: 0.9}\n  scheduler:\n    interval: epoch\n"
    "    _target_: torch.optim.lr_scheduler.SequentialLR\n    frequency: 2\n    milestones: [3]\n    schedulers:\n"
    "    - {_target_: torch.optim.lr_scheduler.LinearLR, total_iters: 3}\n"
    "    - {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: '${trainer.a}'}\n",
    "big_vision": "import ml_collections\n\ndef get_config(arg=None):\n  config = ml_collections.ConfigDict()\n"
    "  config.total_epochs = 9\n  config.input = dict(batch_size=8 * 4)\n  config.optax_name = 'scale_by_adam'\n"
    "  config.lr = 0.001\n  config.wd = 0.0001\n  config.lr_mults = [('head/.*', 0.1)]\n  if config.wd > 0:\n"
    "    config.grad_clip_norm = 1.0\n  for rate in (0.1, 0.2):\n    config.lr += rate\n"
    "  config.schedule = [('.*', dict(decay_type='rsqrt', timescale=10, cooldown_steps=3))]\n  return config\n",
    "detr": "batch_size: 2\nepochs: 9\nlr: 0.0001\nlr_backbone: 0.00001\nlr_drop: 3\nclip_max_norm: 0.1\n",
    "torchvision": "batch_size: 32\nepochs: 9\nopt: sgd_nesterov\nlr: 0.1\nmomentum: 0.9\nlr_scheduler: steplr\n"
    "lr_step_size: 3\nlr_warmup_decay: 0.1\nlr_warmup_epochs: 2\nmodel_ema: true\nclip_grad_norm: 1.0\n",
    "scenic": "import ml_collections\n\ndef get_config():\n  config = ml_collections.ConfigDict()\n"
    "  config.batch_size = 4\n"
    "  config.num_training_epochs = 9\n  config.optimizer = 'adam'\n"
    "  config.optimizer_configs = dict(weight_decay=0.1)\n"
    "  config.max_grad_norm = 1.0\n  config.lr_configs = dict(learning_rate_schedule='compound', warmup_steps=3)\n"
    "  config.lr_configs.factors = 'constant * cosine_decay * linear_warmup'\n  config.lr_configs.alpha = 0.1\n"
    "  config.lr_configs.base_learning_rate = 0.1\n  config.lr_configs.steps_per_cycle = 8 * 2\n  return config\n",
    "yolov6": "model = dict(type='YOLOv6s')\nlr = 0.01\nsolver = dict(optim='SGD', lr_scheduler='Cosine', lr0=lr * 2,\n"
    "    lrf=0.01, momentum=0.9, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1)\n"
    "solver['lrf'] = 0.1\n",
    "yolox": "from yolox.exp import Exp as MyExp\n\nclass Exp(MyExp):\n    def __init__(self):\n"
    "        super(Exp, self).__init__()\n        self.max_epoch = 100\n        self.basic_lr_per_img = 0.01 / 64.0\n"
    "        self.no_aug_epochs = self.max_epoch // 10\n        self.ema = True\n        self.scheduler = 'warmcos'\n",
    "darknet": "[net]\nbatch=64\nsubdivisions=16\nmomentum=0.949\ndecay=0.0005\nlearning_rate=0.0013\nburn_in=1000\n"
    "max_batches = 5000\npolicy=steps\nsteps=4000,4500\nscales=.1,.1\n\n[convolutional]\nfilters=32\nsize=3\n",
    "tfod": "model { ssd { feature_extractor { type: 'ssd_mobilenet_v1_fpn_keras' conv_hyperparams { regularizer {\n"
    "  l2_regularizer { weight: 4e-5 } } } } } }\ntrain_config {\n  batch_size: 64\n  num_steps: 25000\n"
    "  gradient_clipping_by_norm: 10.0\n  freeze_variables: 'Extractor'\n  optimizer {\n    rms_prop_optimizer {\n"
    "      learning_rate { manual_step_learning_rate { initial_learning_rate: 0.1 warmup: true\n"
    "        schedule { step: 100 learning_rate: 0.01 } } }\n      momentum_optimizer_value: 0.9\n      decay: 0.9\n"
    "    }\n    use_moving_average: true\n  }\n}\n",
    "modelgarden": "task: {losses: {l2_weight_decay: 1.0e-4}, train_data: {global_batch_size: 64}}\ntrainer:\n"
    "  train_steps: 1000\n  optimizer_config:\n    optimizer: {type: sgd, sgd: {momentum: 0.9, global_clipnorm: 1.0}}\n"
    "    learning_rate: {type: cosine, cosine: {initial_learning_rate: 0.1, decay_steps: 1000, alpha: 0.1}}\n"
    "    warmup: {type: polynomial, polynomial: {warmup_steps: 50, power: 2}}\n    ema: {average_decay: 0.9999}\n",
    "paddledetection": "epoch: 10\nuse_ema: true\nema_decay_type: normal\nTrainReader: {batch_size: 8}\nLearningRate:\n"
    "  base_lr: 0.01\n  schedulers:\n  - !CosineDecay {max_epochs: 12, last_plateau_epochs: 1}\n"
    "  - !ExpWarmup {power: 3, steps: 100}\nOptimizerBuilder:\n  clip_grad_by_norm: 0.1\n"
    "  optimizer: {type: AdamW, weight_decay: 0.1, param_groups: [{params: [norm], weight_decay: 0.0}]}\n"
    "  regularizer: {type: L2, factor: 0.0005}\n",
    "rfdetr": "epochs: 9\nbatch_size: 4\ngrad_accum_steps: 4\nlr: 0.0001\nlr_encoder: 0.00015\nwarmup_epochs: 1\n"
    "lr_scheduler: cosine\nlr_min_factor: 0.1\nlr_vit_layer_decay: 0.8\nlr_component_decay: 0.7\nema_tau: 100\n"
    "out_feature_indexes: [11]\nclip_max_norm: 0.1\n",
    "rtdetr": "epoches: 9\nuse_ema: true\nema: {type: ModelEMA, decay: 0.9999, warmups: 2000, start: 3}\n"
    "clip_max_norm: 0.1\n"
    "optimizer:\n  type: AdamW\n  lr: 0.0001\n  betas: [0.9, 0.999]\n"
    "  params: [{params: '^(?=.*a)(?!.*b).*$', lr: 0.00001}]\n"
    "lr_scheduler: {type: MultiStepLR, milestones: [8], gamma: 0.1}\nlr_gamma: 0.5\nflat_epoch: 4\nno_aug_epoch: 2\n"
    "lr_warmup_scheduler: {type: LinearWarmup, warmup_duration: 200}\nwarmup_iter: 50\nlrsheduler: flatcosine\n",
    "openmmlab": "optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)\n"
    "optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))\n"
    "lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])\n"
    "runner = dict(type='EpochBasedRunner', max_epochs=12)\n",
    "keras": '{"class_name": "AdamW", "config": {"learning_rate": {"class_name": "CosineDecayRestarts", "config": '
    '{"initial_learning_rate": 0.1, "first_decay_steps": 100, "t_mul": 2.0, "m_mul": 0.9, "alpha": 0.01}}, '
    '"weight_decay": 0.01, "clipnorm": 1.0, "use_ema": true, "ema_momentum": 0.99, "beta_1": 0.9, "nesterov": false}}',
    "swin": "MODEL: {TYPE: swin, NAME: swin_tiny}\nTRAIN:\n  EPOCHS: 300\n  BASE_LR: 5.0e-4\n  WARMUP_EPOCHS: 20\n"
    "  WARMUP_LR: 5.0e-7\n  MIN_LR: 5.0e-6\n  WEIGHT_DECAY: 0.05\n  CLIP_GRAD: 5.0\n  LR_SCHEDULER: {NAME: cosine}\n"
    "  OPTIMIZER: {NAME: adamw, BETAS: [0.9, 0.999]}\n",
    "pycls": "MODEL: {TYPE: regnet}\nOPTIM:\n  LR_POLICY: steps\n  STEPS: [0, 30, 60]\n  BASE_LR: 0.8\n  MAX_EPOCH: 9\n"
    "  WARMUP_EPOCHS: 5\n  LR_MULT: 0.1\n  MOMENTUM: 0.9\n  WEIGHT_DECAY: 5.0e-5\nTRAIN: {BATCH_SIZE: 1024}\n",
    "recipe": js.Recipe("sgd", dict(lr=js.warmup(js.cosine(0.1, 100), 10), momentum=0.9), steps=100).to_json(),
}
WORDS = """
0 -1 1 2 0.5 1e-9 1.0e+300 1e308 -.inf nan inf 2147483648 true null [] {} [1,2] "text" '5e-4' [[[[1]]]] {a:[1]} !!set
!!python/object/apply:os.system ~nosuchuser &a *a << __import__('os') 1:30:30 2024-01-01 0x10 1_000 1e-400 \x07 \ud800
"""
NASTY = WORDS.split()
NASTY += ["1" * 500, "9" * 5000, "[" * 300, "x" * 5000, "1" + "0" * 300, "(1,)" * 50, "- a: 1\n"]


def mutated(text, random_):
    """``text`` with a few values, tokens, lines or characters changed."""
    for _ in range(random_.choice([1, 1, 1, 2, 3])):
        what = random_.random()
        tokens = list(re.finditer(r"[\w.+-]+", text))
        if what < 0.7 and tokens:
            token = random_.choice(tokens)
            text = text[: token.start()] + random_.choice(NASTY) + text[token.end() :]
        elif what < 0.85:
            lines = text.splitlines()
            i = random_.randrange(len(lines))
            lines[i : i + 1] = random_.choice([[], [lines[i]] * 2, [lines[i][: len(lines[i]) // 2]], [lines[i] + "]"]])
            text = "\n".join(lines) or " "
        else:
            i = random_.randrange(len(text))
            text = text[:i] + chr(random_.choice([0, 9, 10, 34, 39, 58, 91, 123, 0x2028, 0x1F600])) + text[i + 1 :]
    return text


def ending(name):
    return (
        "py"
        if name in ("openmmlab", "yolov6", "yolox", "big_vision", "scenic")
        else "json"
        if STARTS[name].startswith("{")
        else "yaml"
    )


def kind_and_options(name):
    """The kind of this name, and options that fit it."""
    kind = next(kind for kind in _source.kinds() if kind.name == name)
    options = {option: value for option, value in OPTIONS.items() if option in kind.options}
    if name == "recipe":
        options = {}
    if name in ("openmmlab", "torch"):  # the batch size scales the rates, if the config says by what; one optimizer
        options = {"steps_per_epoch": 7}
    if name == "yolov6":
        options["world_size"] = 1
    return kind, options


def damaged(name, number, seed=""):
    random_ = random.Random(name + seed)
    for _ in range(number):
        yield mutated(STARTS[name], random_).encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def test_every_kind_of_file_is_in_the_fuzz():
    assert set(STARTS) == {kind.name for kind in _source.kinds() if kind.read}


@pytest.mark.parametrize("name", STARTS)
def test_a_damaged_file_is_a_recipe_or_an_error_that_users_can_read(name):
    kind, options = kind_and_options(name)
    given = _source.Given(options, name)
    read = 0
    for text in damaged(name, 300):
        file = _source.File(Path(f"file.{ending(name)}"), text)
        try:
            recipe = _source.read_file(file, kind, given)
        except (OSError, TypeError, ValueError) as error:
            message = str(error)
            assert len(message) < 600 or name == "recipe", message  # those of a recipe's own are cut by the command
            continue
        recipe.build()
        read += 1
    assert 0 < read < 300


NAME = re.compile(
    r"""(?<![\w.])(?:config\.|self\.)?(?P<quote>["']?)(?P<name>[A-Za-z_]\w+)(?P=quote)(?=\s*(?:=(?!=)|:))"""
)
NUMBER = re.compile(r"(?<![\w.$'\"-])\d+\.?\d*(?:[eE][-+]?\d+)?(?![\w.])")
UNREAD = {
    "big_vision": {"arg"},  # of the function
    "darknet": {"filters", "size"},  # of a layer
    "keras": {"nesterov"},  # false, which is its default
    "pycls": {"MODEL", "TYPE"},
    "rtdetr": {"type", "milestones", "gamma"},  # of an lr_scheduler beside lrsheduler
    "swin": {"NAME"},  # without LAYER_DECAY
    "tfod": {"type"},  # it is in a caution alone
    "timm": {"layer_decay"},  # null
    "torch": {"scheduler"},  # found by the class in it
    "yolov6": {"model", "type"},
}
"""Names whose values change nothing in these files."""


@pytest.mark.parametrize("name", STARTS)
def test_a_misspelt_name_is_said(name):
    kind, options = kind_and_options(name)
    given = _source.Given(options, name)
    text = STARTS[name]
    for found in NAME.finditer(text):
        word = found["name"]
        if word in UNREAD.get(name, ()):
            continue
        misspelt = word + word[-1]
        file = _source.File(
            Path(f"file.{ending(name)}"), text[: found.end("name")] + word[-1] + text[found.end("name") :]
        )
        try:
            notes = _source.read_file(file, kind, given).notes
        except (TypeError, ValueError):
            continue
        assert any(misspelt in note for note in notes), (misspelt, notes)


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("detectron2", "SOLVER"),
        ("pycls", "OPTIM"),
        ("pycls", "TRAIN"),
        ("swin", "TRAIN"),
        ("modelgarden", "trainer"),
        ("modelgarden", "task"),
        ("keras", "config"),
    ],
)
def test_a_setting_beside_its_section_is_an_error(name, section):
    """As where the indentation of a line was lost."""
    kind, options = kind_and_options(name)
    content = parse_yaml(STARTS[name])
    for setting in content[section].keys() - UNREAD.get(name, set()):
        inside = {key: value for key, value in content[section].items() if key != setting}
        text = json.dumps({**content, section: inside, setting: content[section][setting]})
        with pytest.raises(ValueError, match=rf"{setting} is beside {section}|'{setting}' is missing"):
            _source.read_file(_source.File(Path("file.yaml"), text), kind, _source.Given(options, name))


UNUSED = {
    "big_vision": {"if"},  # a number that wd is compared with
    "darknet": {"batch", "filters", "size"},
    "deepspeed": {"lr", "betas"},  # of which OneCycle makes its own
    "paddledetection": {"last_plateau_epochs", "factor"},  # after the run; AdamW has no regularizer
    "rtdetr": {"milestones", "gamma"},  # of an lr_scheduler beside lrsheduler
    "timm": {"decay_milestones"},  # of another schedule
    "ultralytics": {"epochs", "batch", "warmup_epochs"},  # given as options, and a run that is shorter
    "yolov5": {"box"},
    "yolov6": {"lrf"},  # there twice
    "yolox": {"no_aug_epochs"},  # of a run that is shorter, by an option
}
"""Settings whose numbers change nothing in these files."""


@pytest.mark.parametrize("name", STARTS)
def test_another_number_is_another_recipe(name):
    """And one in quotes, as YAML reads ``1e-3``, is the same or an error."""
    kind, options = kind_and_options(name)
    given = _source.Given(options, name)
    text = STARTS[name]

    def read(text):
        recipe = _source.read_file(_source.File(Path(f"file.{ending(name)}"), text), kind, given)
        return json.loads(recipe.replace(origin={}).to_json())

    whole = read(text)
    for found in NUMBER.finditer(text):
        setting = [name["name"] for name in NAME.finditer(text[: found.start()])][-1:] or [""]
        number, before, after = found[0], text[: found.start()], text[found.end() :]
        other = str(int(number) + 3) if number.isdigit() else str(float(number) * 1.5 + 0.25)
        for new, same in (other, False), (f"'{number}'", True):
            try:
                changed = read(before + new + after)
            except (TypeError, ValueError):
                continue
            assert setting[0] in UNUSED.get(name, ()) or (changed == whole) is same, (setting, new)


def check_answer(result, command):
    """No traceback, and no message that asks for a report."""
    assert isinstance(result.exception, SystemExit | None), (command, result.exc_info)
    assert result.exit_code in (0, 1, 2), command
    if result.exit_code == 2:
        assert re.fullmatch(r"error: .{1,600}\n", result.stderr), (command, result.stderr)
        assert "please report" not in result.stderr, (command, result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("name", STARTS)
def test_every_command_answers_to_damaged_files(name, tmp_path):
    _, options = kind_and_options(name)
    words = [word for option, value in options.items() for word in (_source.flag(option), str(value))]
    commands = {
        "show": [],
        "lint": [],
        "convert": [],
        "plot": ["-o", str(tmp_path / "out.png")],
        "report": ["-o", str(tmp_path / "out.html")],
        "diff": [str(tmp_path / f"whole.{ending(name)}")],
        "verify": ["--log", str(tmp_path / "results.csv")],
    }
    (tmp_path / f"whole.{ending(name)}").write_text(STARTS[name], encoding="utf-8")
    (tmp_path / "results.csv").write_text("epoch,lr\n0,0.1\n1,0.05\n", encoding="utf-8")
    path = tmp_path / f"file.{ending(name)}"
    for text in [STARTS[name], *damaged(name, 2, "commands")]:
        path.write_text(text, encoding="utf-8")
        for command, more in commands.items():
            result = CliRunner().invoke(app, [command, str(path), *more, "--as", name, *words])
            check_answer(result, (command, text))
            assert result.exit_code != 2 or text != STARTS[name] or command == "verify", (command, result.stderr)


ROWS = [{"step": s, "epoch": s // 20, "lr": 0.1 * 0.99**s} for s in range(0, 200, 20)]
LOGS = {
    "results.csv": "   epoch,  x/lr0,  x/lr1\n" + "\n".join(f"{r['epoch']}, {r['lr']:.5g}, 0.1" for r in ROWS),
    "summary.csv": "epoch\ttrain_loss\tlr\n" + "\n".join(f"{r['epoch']}\t1.0\t{r['lr']!s}" for r in ROWS),
    "scalars.json": "\n".join(json.dumps(row) for row in ROWS),
    "20.log.json": "\n".join(json.dumps({"mode": "train", "iter": 1, **row}) for row in ROWS),
    "trainer_state.json": json.dumps({"log_history": [{**row, "learning_rate": row["lr"]} for row in ROWS]}),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_damaged_log_is_a_verdict_or_an_error(name, tmp_path):
    recipe = js.Recipe("sgd", dict(lr=js.exponential(0.1, 0.99)), steps=200, steps_per_epoch=20)
    random_ = random.Random(name)
    read = 0
    for _ in range(150):
        text = mutated(LOGS[name], random_).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        (tmp_path / name).write_text(text, encoding="utf-8")
        try:
            verdict = js.verify(recipe, tmp_path / name)
        except (OSError, ValueError) as error:
            message = str(error)
            assert len(message) < 600 + len(str(tmp_path)), message
            continue
        assert str(verdict)
        read += 1
    assert read


@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("a.yaml", "SOLVER: {MAX_ITER: 1.0e+300}", []),
        ("a.yaml", "SOLVER: {BASE_LR: 1.0e+300}", []),
        ("a.json", '{"$recipe": 1, "optimizer": "sgd", "steps": 1' + "0" * 300 + "}", []),
        ("a.py", "_base_ = 'x.py'\n_base_[1] = 2\noptimizer = dict(type='SGD', lr=1)\n", ["-s", "10"]),
        ("a.py", "_base_ = '~nosuchuser/x.py'\n", ["-s", "10"]),
        ("a.yaml", "_BASE_: ~nosuchuser/x.yaml\nSOLVER: {}", []),
        ("a.yaml", STARTS["ultralytics"].replace("epochs: 100", "epochs: 1" + "0" * 300), ["-s", "10"]),
        ("a.yaml", STARTS["yolov5"].replace("3.0", "1.0e+200"), ["-s", "10", "-e", "3", "-b", "4"]),
        ("a.yaml", STARTS["timm"].replace("epochs: 10", "epochs: 1.0e+18"), ["-s", "1000000"]),
    ],
)
@pytest.mark.parametrize("command", ["show", "convert"])
def test_no_traceback(name, text, arguments, command, tmp_path):
    (tmp_path / name).write_text(text)
    result = CliRunner().invoke(app, [command, str(tmp_path / name), *arguments])
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    if result.exit_code:
        assert result.exit_code == 2
        assert re.fullmatch(r"error: .{1,600}\n", result.stderr), result.stderr
        assert "please report" not in result.stderr


def test_a_path_that_is_none(tmp_path):
    for path in ("~nosuchuser", "a\0b", "x" * 5000, "\x1b[31m"):
        result = CliRunner().invoke(app, ["show", path])
        assert result.exit_code == 2, path
        assert re.fullmatch(r"error: [^\x00-\x08\x1b]{1,600}\n", result.stderr), result.stderr


def test_what_nobody_thought_of_is_one_line_too(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("jaxsched.cli._app.read", broken)
    result = CliRunner().invoke(app, ["show", "a.yaml"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ZeroDivisionError: division by zero; this is a bug in jaxsched")
