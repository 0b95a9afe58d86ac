"""The command, through typer's runner and as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import jaxsched as js
from jaxsched.cli import _options
from jaxsched.cli._app import app
from jaxsched.cli._source import kinds, recognise
from jaxsched.ports.shared import File

HYP = """\
lr0: 0.01
lrf: 0.01
momentum: 0.937
weight_decay: 5e-4
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
"""
MMDET_2 = """\
model = dict(type='RetinaNet')
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
"""
MMDET_3 = """\
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[16, 22], gamma=0.1)]
"""
DETECTRON = """\
MODEL: {META_ARCHITECTURE: RetinaNet}
SOLVER: {BASE_LR: 0.02, MAX_ITER: 90000, STEPS: "(60000, 80000)", IMS_PER_BATCH: 16}
"""
ARGS = "task: detect\nmode: train\nepochs: 100\nbatch: 16\noptimizer: SGD\nlr0: 0.01\nlrf: 0.01\nwarmup_bias_lr: 0.1\n"
LENGTH = ["--epochs", "300", "--steps-per-epoch", "7393", "--batch-size", "16"]
TIMM = "opt: adamw\nsched: cosine\nlr: 1e-3\nepochs: 10\nwarmup_epochs: 2\nmodel: vit\n"
HUGGING_FACE = '{"learning_rate": 1e-4, "lr_scheduler_type": "cosine", "warmup_steps": 10, "num_train_epochs": 3}'
DEEPSPEED = """\
{"train_batch_size": 8, "gradient_clipping": 1.0, "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}}, "scheduler":
{"type": "WarmupDecayLR", "params": {"warmup_max_lr": 1e-3, "warmup_num_steps": 100, "total_num_steps": 1000}}}
"""
LIGHTNING = """\
trainer: {max_epochs: 100}
model: {class_path: my.Model}
optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001}}
lr_scheduler:
  class_path: torch.optim.lr_scheduler.SequentialLR
  init_args:
    schedulers:
    - {class_path: torch.optim.lr_scheduler.LinearLR, init_args: {total_iters: 5}}
    - {class_path: torch.optim.lr_scheduler.CosineAnnealingLR, init_args: {T_max: 95}}
    milestones: [5]
"""
YOLOX = """\
from yolox.exp import Exp as MyExp

class Exp(MyExp):
    def __init__(self):
        super().__init__()
        self.max_epoch = 100
"""
DARKNET = """\
[net]
batch=64
subdivisions=16
learning_rate=0.0013
burn_in=1000
max_batches=500500
policy=steps
steps=400000,450000
scales=.1,.1

[convolutional]
filters=32
"""
PIPELINE = """\
model { ssd { feature_extractor { type: "ssd_mobilenet_v2_keras" } } }
train_config {
  batch_size: 64
  num_steps: 1000
  optimizer {
    momentum_optimizer { learning_rate { cosine_decay_learning_rate { total_steps: 1000 warmup_steps: 100 } } }
  }
}
"""
PADDLE = """\
epoch: 10
LearningRate:
  base_lr: 0.01
  schedulers:
  - !CosineDecay {max_epochs: 12}
  - !LinearWarmup {start_factor: 0., steps: 100}
OptimizerBuilder:
  optimizer: {type: Momentum, momentum: 0.9}
  regularizer: {type: L2, factor: 0.0005}
"""
BIG_VISION = """\
import ml_collections as mlc

def get_config():
  config = mlc.ConfigDict()
  config.total_steps = 100
  config.optax_name = 'scale_by_adam'
  config.lr, config.wd = 0.001, 1e-4
  config.schedule = dict(warmup_steps=10, decay_type='cosine')
  return config
"""
SCENIC = """\
import ml_collections

def get_config():
  config = ml_collections.ConfigDict()
  config.num_training_steps = 100
  config.optimizer = 'momentum'
  config.lr_configs = dict(learning_rate_schedule='compound', factors='constant * linear_warmup')
  config.lr_configs.update(base_learning_rate=0.1, warmup_steps=10)
  return config
"""
FILES = {
    "modelgarden": ("params.yaml", (Path(__file__).parents[1] / "recorded" / "cases" / "tfmg.yaml").read_text(), []),
    "paddledetection": ("ppyoloe.yml", PADDLE, ["-s", "100"]),
    "rfdetr": (
        "train.yaml",
        "epochs: 9\nbatch_size: 4\ngrad_accum_steps: 4\nlr_encoder: 1.5e-4\nwarmup_epochs: 1\nlr_drop: 8\n",
        ["--images", "1600", "--model", "base"],
    ),
    "rtdetr": (
        "rtdetrv2.yml",
        "epoches: 9\noptimizer: {type: AdamW, lr: 1.0e-4}\nlr_scheduler: {type: MultiStepLR, milestones: [8]}\n"
        "lr_warmup_scheduler: {type: LinearWarmup, warmup_duration: 200}\n",
        ["-s", "100"],
    ),
    "detr": ("args.yaml", "lr: 1.0e-4\nlr_backbone: 1.0e-5\nlr_drop: 5\nepochs: 9\n", ["-s", "100"]),
    "torchvision": (
        "args.yaml",
        "lr: 0.5\nepochs: 9\nlr_scheduler: steplr\nlr_step_size: 3\nlr_warmup_epochs: 2\nlr_warmup_method: linear\n",
        ["-s", "100"],
    ),
    "scenic": ("resnet.py", SCENIC, []),
    "big_vision": ("vit.py", BIG_VISION, []),
    "darknet": ("yolov4.cfg", DARKNET, []),
    "tfod": ("pipeline.config", PIPELINE, []),
    "yolov6": (
        "yolov6s.py",
        "model = dict(type='YOLOv6s')\nsolver = dict(optim='SGD', lr_scheduler='Cosine', lr0=0.01, lrf=0.01,\n"
        "    momentum=0.9, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1)\n",
        ["-s", "500", "-e", "9", "-b", "32"],
    ),
    "yolox": ("yolox_s.py", YOLOX, ["-s", "925", "-b", "64"]),
    "torch": ("config.yaml", LIGHTNING, ["-s", "100"]),
    "deepspeed": ("ds_config.json", DEEPSPEED, ["--version", "0.19.8"]),
    "timm": ("args.yaml", TIMM, ["-s", "100"]),
    "huggingface": ("training_args.json", HUGGING_FACE, ["-s", "100"]),
    "yolov5": ("hyp.yaml", HYP, LENGTH),
    "openmmlab": ("retinanet.py", MMDET_2, ["-s", "7330"]),
    "openmmlab 3": ("faster.py", MMDET_3, ["-s", "7330"]),
    "detectron2": ("retinanet.yaml", DETECTRON, []),
    "ultralytics": ("args.yaml", ARGS, ["-s", "1000"]),
    "ultralytics auto": (
        "args.yaml",
        ARGS.replace("SGD", "auto"),
        ["--images", "118287", "--classes", "80", "--outputs", "first"],
    ),
    "recipe": ("recipe.json", js.Recipe("sgd", dict(lr=js.cosine(0.1, 100)), steps=100).to_json(), []),
}
GOLDEN = Path(__file__).parents[1] / "report" / "golden"


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


@pytest.fixture
def file(tmp_path):
    def write(kind):
        name, text, options = FILES[kind]
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name, options

    return write


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_recognised_shown_linted_and_converted(kind, file):
    path, options = file(kind)
    assert recognise(File.read(path)).name == kind.split()[0]
    shown = run("show", path, *options)
    assert "values" in shown
    assert "warm-up ends" in shown or kind in ("recipe", "detr")
    assert "step 0" in shown
    recipe = js.Recipe.from_json(run("convert", path, *options))
    assert str(js.explain(recipe)).splitlines()[0] == shown.splitlines()[0]
    run("lint", path, *options)
    assert run("diff", path, path, *options) == "no difference\n"


def test_the_config_that_never_decays_is_found(file):
    path, options = file("openmmlab 3")
    assert "warning never-decays (weight): lr stays at 0.02" in run("lint", path, *options)


def test_json_is_the_same_as_data(file):
    path, options = file("yolov5")
    shown = json.loads(run("show", path, *options, "--json"))
    recipe = js.ports.yolov5.recipe(path, epochs=300, steps_per_epoch=7393, batch_size=16)
    assert shown["steps"] == recipe.steps == 2217900
    assert shown["groups"]["weight"]["origin"]["weight_decay"].endswith("hyp.yaml: weight_decay 0.0005 x 16 x 4 / 64")
    weight = shown["groups"]["weight"]["hyperparameters"]
    assert (weight["weight_decay"], weight["nesterov"], weight["form"]) == (0.0005, True, "torch")
    assert "warmup(" in weight["lr"]
    assert shown["rows"][1] == json.loads(json.dumps(js.explain(recipe).to_dict()))["rows"][1]
    findings = json.loads(run("lint", path, *options, "--json"))
    assert [finding["code"] for finding in findings] == ["version-open", "accumulation-drops"]
    (difference, *_) = json.loads(run("diff", path, path, "--json", *options) or "[]") or [None]
    assert difference is None


def test_an_error_found_is_exit_status_1(file):
    path, _ = file("yolov5")
    out = run("lint", path, "-e", 2, "-s", 10, "-b", 64, code=1)
    assert "error warmup-too-long" in out
    assert "100 steps (10 epochs), training 20 steps (2 epochs)" in out


def test_a_difference_is_exit_status_1(file, tmp_path):
    path, options = file("yolov5")
    run("convert", path, *options, "-o", tmp_path / "kept.json")
    assert run("diff", tmp_path / "kept.json", path, *options) == "no difference\n"
    options[-1] = "64"
    assert "batch_size: 16 -> 64" in run("diff", tmp_path / "kept.json", path, *options, code=1)


def test_pictures(file, tmp_path):
    path, options = file("yolov5")
    other, _ = file("detectron2")
    out = run("plot", path, *options, "-o", tmp_path / "one.png")
    assert out.strip() == str(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    run("plot", path, other, *options, "-o", tmp_path / "two.svg")
    drawn = (tmp_path / "two.svg").read_text(encoding="utf-8")
    assert "hyp" in drawn
    assert "retinanet" in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "no_such.yaml"], "error: no_such.yaml: No such file or directory"),
        (["show", "hyp.yml"], "error: hyp.yml: No such file or directory; did you mean 'hyp.yaml'?"),
        (["show", "nowhere/hyp.yml"], "error: nowhere/hyp.yml: No such file or directory; there is no folder nowhere"),
        (["show", "hyp.yaml"], "hyp.yaml: it has no epochs and no batch_size; give --epochs and --batch-size"),
        (["show", "hyp.yaml", "-e", "3", "-b", "16"], "give --steps-per-epoch or --images"),
        (["show", "retinanet.py"], "give --steps-per-epoch"),
        (["show", "retinanet.py", "-s", "10", "--epochs", "3"], "--epochs has no meaning for an OpenMMLab config"),
        (["show", "recipe.json", "--epochs", "3", "-s", "10"], "the recipe has steps 100"),
        (
            ["show", "hyp.yaml", "--as", "kears"],
            "--as must be one of recipe, big_vision, darknet, deepspeed, detectron2",
        ),
        (["show", "hyp.yaml", "--as", "recipe"], "recipe"),
        (["lint", "bad.yaml"], "bad.yaml is not valid YAML: while parsing a flow sequence at line 1, column 6"),
        (
            ["lint", "other.yaml"],
            "other.yaml is of no known kind, by its settings (name); say which with --as: recipe, big_vision",
        ),
        (
            ["lint", "other.yaml", "-s", "10"],
            "other.yaml is of no known kind, by its settings (name); say which with --as: recipe, big_vision",
        ),
        (["lint", "other.json"], "other.json is of no known kind"),
        (["show", "other.py"], "other.py is of no known kind, by what it assigns; say which with --as: recipe"),
        (
            ["lint", "-s", "10", "--", "--lr", "0.1"],
            "say whose command line this is: --as detr or huggingface or timm or torchvision",
        ),
        (["lint", "--as", "yolov5", "--", "--lr", "0.1"], "has no command line to read"),
        (["lint", "."], "say which with --as"),
        (["lint", "empty"], "empty: the folder has no file of a known kind"),
        (["verify", "runs"], "runs: the folder is not that of a run; one is in it: runs/train/exp10"),
        (["lint", "runs/train/exp10/results.csv"], "is the log of a run; give the file of settings"),
        (["lint", "binary"], "is not UTF-8 text"),
        (["plot", "retinanet.yaml", "-o", "picture.jpeg"], "must end in .png, .svg, .pdf"),
        (["convert", "evil.py", "-s", "10"], "evil.py"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_status_2(arguments, message, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in FILES:
        file(kind)
    Path("bad.yaml").write_text("lr0: [1")
    Path("other.yaml").write_text("name: thing")
    Path("other.json").write_text('{"lr": 1}')
    Path("other.py").write_text("import os\n\n\ndef f(x: int):\n    return x\n")
    Path("empty").mkdir()
    for name in ("exp", "exp9", "exp10"):
        Path("runs", "train", name).mkdir(parents=True)
        Path("runs", "train", name, "opt.yaml").write_text("epochs: 3")
    Path("runs/train/exp10/results.csv").write_text("epoch,x/lr0\n0,0.1\n")
    Path("binary").write_bytes(b"\xff\xfe\x00")
    Path("evil.py").write_text("__import__('os').system('touch executed')\noptimizer = dict(type='SGD')\n")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not Path("executed").exists()


def test_images_in_place_of_steps_per_epoch(file):
    path, _ = file("yolov5")
    shown = json.loads(run("show", path, "-e", 300, "-b", 16, "--images", 118287, "--json"))
    assert shown["steps_per_epoch"] == 7393


CASES = Path(__file__).parents[1] / "recorded" / "cases"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tune_best.yaml", "is the result of an Ultralytics tune: it has no epochs"),
    ],
)
def test_files_of_systems_without_a_port_are_refused_by_name(name, says):
    for options in ([], ["-s", "10"]):
        result = CliRunner().invoke(app, ["lint", str(CASES / name), *options])
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stderr.count("\n") == 1


LAZY = """\
from detectron2.config import LazyCall as L
from ..common.optim import SGD as optimizer
lr_multiplier = L(WarmupParamScheduler)(warmup_length=0.1)
"""
OTHERS = {
    "lazy.py": (LAZY, "is a LazyConfig of Detectron2"),
    "reid.yaml": ("MODEL: {META_ARCHITECTURE: Baseline}\nSOLVER: {OPT: Adam, MAX_EPOCH: 60}", "fast-reid"),
    "short.yaml": ("MODEL: {META_ARCHITECTURE: Baseline}\nSOLVER: {OPT: Adam}", "fast-reid"),
    "llama.yaml": (
        "model_class: llm\nmicro_batch_size: 2\nlearning_rate: 1e-4\nmax_steps: 10\nnum_train_epochs: 1\n",
        "LLaMA-Factory's v1 trainer, which is not the Trainer",
    ),
    "opt.yaml": (
        "model: yolov5s-cls.pt\nepochs: 10\nbatch_size: 64\nimgsz: 224\nlr0: 0.001\ndecay: 5e-5\ncutoff: null\n",
        "YOLOv5's classify/train.py, which has no warm-up",
    ),
    "d2go.yaml": ("MODEL: {META_ARCHITECTURE: GeneralizedRCNN, FBNET_V2: {ARCH: a}}\nSOLVER: {BASE_LR: 0.1}", "D2Go"),
    "fbnet.yaml": (
        "MODEL: {META_ARCHITECTURE: GeneralizedRCNN, BACKBONE: {CONV_BODY: FBNet}}\nSOLVER: {BASE_LR: 0.06}",
        "maskrcnn-benchmark",
    ),
    "paddle.yaml": ("MODEL: {TYPE: Swin}\nTRAIN: {BASE_LR: 1e-4, NUM_EPOCHS: 300, WARMUP_EPOCHS: 20}", "PaddleViT"),
    "coop.yaml": ("OPTIM: {NAME: sgd, LR: 0.002, MAX_EPOCH: 50, WARMUP_EPOCH: 1}", "Dassl"),
    "hrnet.yaml": ("TRAIN: {OPTIMIZER: adam, LR: 1e-3, LR_FACTOR: 0.1, LR_STEP: [200], END_EPOCH: 300}", "HRNet"),
    "dino.yaml": ("MODEL: {WEIGHTS: ''}\ndino: {}\nibot: {}\ncrops: {}\noptim: {base_lr: 4e-3, epochs: 100}", "DINOv2"),
    "fair.yaml": ("MODEL: {META_ARCHITECTURE: GeneralizedRCNN, WEIGHT: catalog://a}\nSOLVER: {}", "maskrcnn-benchmark"),
}


def test_a_file_of_fast_reid_whose_base_says_so(tmp_path):
    (tmp_path / "base.yml").write_text("SOLVER: {OPT: Adam, MAX_EPOCH: 60}\n")
    (tmp_path / "a.yml").write_text("_BASE_: base.yml\nMODEL: {META_ARCHITECTURE: Baseline}\nSOLVER: {BASE_LR: 1e-3}\n")
    result = CliRunner().invoke(app, ["lint", str(tmp_path / "a.yml")])
    assert result.exit_code == 2
    assert "'OPT', which a file that it is based on has, is fast-reid's and not Detectron2's" in result.stderr


@pytest.mark.parametrize("name", OTHERS)
def test_what_looks_like_another_kind_is_not_taken_for_it(name, tmp_path):
    text, says = OTHERS[name]
    (tmp_path / name).write_text(text)
    result = CliRunner().invoke(app, ["show", str(tmp_path / name)])
    assert result.exit_code == 2
    assert says in result.stderr


TRAIN = "torchrun --nproc_per_node=8 train.py /data -b 64 --opt adamw --lr 1e-3 --sched cosine --epochs 10 --amp"


def test_a_pasted_command_line(file, tmp_path):
    words = ["convert", "--as", "timm", "--images", 1281167, "--world-size", 8, "--", *TRAIN.split()]
    recipe = js.Recipe.from_json(run(*words))
    assert (recipe.batch_size, recipe.steps_per_epoch, recipe.steps) == (512, 2502, 25020)
    assert recipe.notes == ("not part of a recipe: amp",)
    words = "python run_glue.py --learning_rate 2e-5 --num_train_epochs 3 --lr_scheduler_type=cosine --do_train"
    recipe = js.Recipe.from_json(run("convert", "--as", "huggingface", "-s", 100, "--", *words.split()))
    assert recipe.steps == 300


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "main.py --model deit_small --batch-size 256 --data-path /x --epochs 300",
            "data_path is not an option of timm's",
        ),
        ("main_finetune.py --accum_iter 4 --blr 5e-4 --epochs 100", "blr is not an option of timm's train.py"),
        ("main.py --model convnext_tiny --lr 4e-3 --update_freq 4", "update_freq is not an option of timm's train.py"),
    ],
)
def test_a_command_line_of_a_script_that_started_from_timms(words, says):
    """Its lr is scaled by the batch, and what the line leaves out is not timm's default."""
    result = CliRunner().invoke(app, ["show", "--as", "timm", "--images", "9999", "--", *words.split()])
    assert result.exit_code == 2
    assert says in result.stderr


def test_standard_input_and_the_folder_of_a_run(file, tmp_path, monkeypatch):
    for kind, (name, text, options) in FILES.items():
        expected = js.Recipe.from_json(run("convert", file(kind)[0], *options))
        piped = CliRunner().invoke(app, ["convert", "-", *options], input=text)
        assert piped.exit_code == 0, (kind, piped.output)
        assert not js.diff(js.Recipe.from_json(piped.stdout), expected)
        (tmp_path / name).unlink()
    for kind in ("yolov5", "ultralytics", "timm", "detectron2", "huggingface"):
        name, text, options = FILES[kind]
        name = "config.yaml" if kind == "detectron2" else name
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text(text)
        run("show", tmp_path / kind, *options)
    (tmp_path / "yolov5" / "args.yaml").write_text(TIMM)
    result = CliRunner().invoke(app, ["show", str(tmp_path / "yolov5")])
    assert "has args.yaml of timm and hyp.yaml of yolov5; say which with --as" in result.stderr


@pytest.mark.parametrize("command", ["show", "lint", "convert"])
def test_strict_makes_an_error_of_an_unknown_setting(command, file, tmp_path):
    path, options = file("yolov5")
    path.write_text(HYP + "lrO: 0.1\n")
    run(command, path, *options)
    assert "warning misspelt-key" in run("lint", path, *options)
    result = CliRunner().invoke(app, [command, str(path), *options, "--strict"])
    assert result.exit_code == 2
    assert "'lrO' is not known, and left out; did you mean 'lr0'? (--strict)" in result.stderr


def test_without_arguments_an_example_is_shown():
    shown = run()
    for line in ("jaxsched show hyp.yaml --epochs 300", "jaxsched show --as timm", "--install-completion"):
        assert line in shown


def test_help_names_every_command():
    text = run("--help")
    assert all(command in text for command in ("show", "lint", "plot", "diff", "convert", "--install-completion"))
    assert run("--version").strip() == js.__version__
    assert run() == text  # with its examples
    assert "``" not in run("show", "--help")


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_as_a_process_with_a_pipe_and_in_ascii(file):
    """The text is the same without a terminal and has no escape codes; where there is no UTF-8, none is written."""
    path, options = file("yolov5")
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": str(Path(js.__file__).parents[1])}
    done = process("-m", "jaxsched", "show", path, *options, env=environment)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()
    assert "lr of weight" in done.stdout
    assert done.stderr == ""
    failed = process("-m", "jaxsched", "show", "no_such", env=environment)
    assert (failed.returncode, failed.stdout, failed.stderr) == (2, "", "error: no_such: No such file or directory\n")


def test_without_the_extra_the_error_names_it():
    code = "import sys; sys.modules['typer'] = None; from jaxsched.cli import main; main()"
    done = process("-c", code)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'jaxsched[cli]'")


def test_importing_jaxsched_imports_no_extra_and_no_port():
    code = (
        "import sys, jaxsched; "
        "wrong = {'matplotlib', 'rich', 'typer', 'yaml', 'flax', 'torch', 'jaxsched.report'} & set(sys.modules); "
        "print(sorted(wrong | {m for m in sys.modules if m.startswith('jaxsched.ports.') and '._' not in m}))"
    )
    assert process("-c", code).stdout.strip() == "[]"


def test_every_command_takes_what_the_ports_say_of_their_files():
    names = {name for kind in kinds() for name in kind.options}
    assert set(_options.options()) == names
    for command in typer.main.get_command(app).commands.values():
        assert names | {"kind", "strict"} <= {parameter.name for parameter in command.params}, command.name


def test_an_argument_is_of_one_type_in_all_ports_and_documented():
    types = {}
    for kind in kinds():
        for name, option in kind.options.items():
            assert types.setdefault(name, option.type) is option.type, (kind.name, name)
            assert option.help.endswith("."), (kind.name, name)


OPTIONS = {
    "packages": ("_base_ = 'mmdet::base.py'", ["--package", "mmdet={folder}"], "mmdet={folder}"),
    "root": ("_base_ = '../base.py'", ["--root", "{folder}"], "--root"),
    "environment": (MMDET_2.replace("lr=0.01", "lr={{$LR:0.01}}"), ["--environment", "LR=0.02"], None),
    "options": (MMDET_2, ["--options", "optimizer.lr=0.02", "--option", "runner.max_epochs=12"], None),
    "options of a type": (
        MMDET_2.replace("SGD", "Sophia"),
        ["--option", "optimizer.type=SGD"],
        "--option optimizer.type=",
    ),
    "options of a constructor": (
        MMDET_2.replace("momentum=", "constructor='Own', momentum="),
        ["--option", "optimizer.constructor=None"],
        "--option optimizer.constructor=None",
    ),
    "depthwise": (
        MMDET_2.replace("momentum=", "paramwise_cfg=dict(dwconv_decay_mult=0.0), momentum="),
        ["--depthwise", "**/depthwise/**"],
        "depthwise=",
    ),
    "optimizer": (
        "optimizer = dict(a=dict(type='SGD', lr=0.01), b=dict(type='SGD', lr=0.02))\ntotal_epochs = 12",
        ["--optimizer", "b"],
        "--optimizer",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_argument_of_openmmlab_on_the_command_line(name, tmp_path):
    text, words, remedy = OPTIONS[name]
    (tmp_path / "base.py").write_text(MMDET_2)
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "config.py"
    path.write_text(text)
    words = [word.format(folder=tmp_path) for word in words]
    recipe = js.Recipe.from_json(run("convert", path, "-s", "100", *words))
    doubled = any("0.02" in word for word in words) or name == "optimizer"
    assert js.curves(recipe, [600])["weight"]["lr"][0] == pytest.approx(0.02 if doubled else 0.01)
    if remedy:  # an error without it names it
        said = CliRunner().invoke(app, ["convert", str(path), "-s", "100"])
        assert remedy.format(folder="FOLDER") in said.stderr
        assert said.exit_code == 2


@pytest.mark.parametrize("entry", ["lr", "=3", ""])
def test_an_entry_of_a_mapping_has_a_name_and_a_value(file, entry):
    path, options = file("openmmlab")
    said = CliRunner().invoke(app, ["show", str(path), *options, "--options", entry])
    assert said.exit_code == 2
    assert "expected NAME=VALUE" in said.stderr


def test_a_page_is_written_with_the_points_of_a_log(file, tmp_path):
    pytest.importorskip("bokeh")
    path, options = file("yolov5")
    (tmp_path / "log.csv").write_text("step,lr\n0,0.0\n1,0.001\n", encoding="utf-8")
    out = tmp_path / "page.html"
    assert run("report", path, *options, "--log", tmp_path / "log.csv", "-o", out).strip() == str(out)
    text = out.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "lr (log)" in text


def test_lint_of_a_run_that_is_resumed(tmp_path):
    for name, steps in (("a.json", 1000), ("b.json", 2000)):
        recipe = js.Recipe("sgd", dict(lr=js.cosine(0.1, steps)), steps=steps)
        (tmp_path / name).write_text(recipe.to_json())
    words = ["lint", str(tmp_path / "b.json"), "--resumed-from", str(tmp_path / "a.json")]
    result = CliRunner().invoke(app, [*words, "--at", "900"])
    assert "lr-jumps-on-resume" in result.stdout
    assert "--resumed-from and --at go together" in CliRunner().invoke(app, words).stderr
