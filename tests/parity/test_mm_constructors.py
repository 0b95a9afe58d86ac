"""Constructors of other OpenMMLab packages: each parameter gets the learning rate and weight decay of the real ones."""

import ast
import types

import fetch_zoo as zoo
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.groups import assign, parameters
from jaxsched.ports import openmmlab

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("originals")]


def tensor(*shape):
    return nn.Parameter(torch.zeros(shape))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(4)
        self.attn = nn.Linear(4, 4)
        self.relative_position_bias_table = tensor(3, 2)
        self.layer_table = tensor(4)


def backbone(kind, **children):
    """A backbone of a class of this name, which is what some constructors look at."""
    made = type(kind, (nn.Module,), {})()
    for name, child in children.items():
        setattr(made, name, child)
    return made


def blocks(count):
    return nn.ModuleList(Block() for _ in range(count))


class Model(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.backbone = body
        self.pos_embed = tensor(1, 2, 4)
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(4, 2)


def vit(kind="BEiT", count=4, name="layers"):
    return Model(
        backbone(
            kind,
            cls_token=tensor(1, 1, 4),
            pos_embed=tensor(1, 5, 4),
            patch_embed=nn.Conv2d(3, 4, 2),
            norm=nn.LayerNorm(4),
            **{name: blocks(count)},
        )
    )


def convnext(depths=(1, 1, 7, 2)):
    down = nn.ModuleList(nn.Sequential(nn.LayerNorm(4), nn.Conv2d(4, 4, 2)) for _ in depths)
    stages = nn.ModuleList(nn.Sequential(*(Block() for _ in range(depth))) for depth in depths)
    return Model(backbone("ConvNeXt", downsample_layers=down, stages=stages, norm3=nn.LayerNorm(4)))


def swin(depths=(2, 2, 6, 2)):
    stages = nn.ModuleList()
    for i, depth in enumerate(depths):
        stage = nn.Module()
        stage.blocks = blocks(depth)
        if i < 3:
            stage.downsample = nn.Module()
            stage.downsample.reduction = nn.Linear(4, 4)
            stage.downsample.norm = nn.LayerNorm(4)
        stages.append(stage)
    return Model(backbone("SwinTransformer", patch_embed=nn.Conv2d(3, 4, 2), stages=stages, norm3=nn.LayerNorm(4)))


def cnn():
    body = backbone("ResNet", conv1=nn.Conv2d(3, 4, 3), bn1=nn.BatchNorm2d(4), conv2=nn.Conv2d(4, 4, 3))
    made = Model(body)
    del made.pos_embed
    return made


def flax_tree(model):
    """The same parameters under the names that Flax would give them, and the torch name of each path."""
    tree, names = {}, {}
    for name, value in model.named_parameters():
        *path, last = name.split(".")
        norm = isinstance(model.get_submodule(".".join(path)), nn.LayerNorm | nn.BatchNorm2d)
        last = ("scale" if norm else "kernel") if last == "weight" else last
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = jnp.zeros(value.shape)
        names["/".join([*path, last])] = name
    return tree, names


OPTIMIZER = {"type": "AdamW", "lr": 2e-3, "weight_decay": 0.05}


def real(constructor, model, paramwise, optimizer=OPTIMIZER):
    made = constructor({"type": "OptimWrapper", "optimizer": dict(optimizer)}, paramwise and dict(paramwise))(model)
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in made.optimizer.param_groups for p in g["params"]}


def ours(name, model, paramwise, optimizer=OPTIMIZER, described=None, **options):
    config = {
        "optim_wrapper": {"optimizer": optimizer, "paramwise_cfg": paramwise, "constructor": name},
        "train_cfg": {"by_epoch": True, "max_epochs": 1},
        "model": {"backbone": described or {"type": type(model.backbone).__name__}},
    }
    return as_read(config, model, **options)


def as_read(config, model, **options):
    recipe = openmmlab.recipe(config, steps_per_epoch=10, **options)
    tree, names = flax_tree(model)
    groups, found = recipe.by_group(), parameters(tree)
    result = {}
    for parameter, rule in zip(found, assign(found, recipe.rules), strict=True):
        values = groups[recipe.rules[rule].group]
        lr = values["lr"](0) if callable(values["lr"]) else values["lr"]
        result[names[parameter.path]] = float(lr), values["weight_decay"]
    return result


def same(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], rel=1e-6), name


MMSEG = "engine/optimizers/layer_decay_optimizer_constructor.py"


@pytest.mark.parametrize(
    ("package", "file", "name", "model", "paramwise"),
    [
        ("mmseg", MMSEG, "LearningRateDecayOptimizerConstructor", vit, dict(decay_rate=0.9, num_layers=4)),
        (
            "mmseg",
            MMSEG,
            "LearningRateDecayOptimizerConstructor",
            convnext,
            dict(decay_rate=0.8, decay_type="stage_wise", num_layers=6),
        ),
        ("mmseg", MMSEG, "LearningRateDecayOptimizerConstructor", convnext, dict(decay_rate=0.8, num_layers=6)),
        ("mmseg", MMSEG, "LayerDecayOptimizerConstructor", vit, dict(layer_decay_rate=0.9, num_layers=4)),
        (
            "mmpose",
            "engine/optim_wrappers/layer_decay_optim_wrapper.py",
            "LayerDecayOptimWrapperConstructor",
            vit,
            dict(layer_decay_rate=0.75, num_layers=4),
        ),
        (
            "mmaction",
            "engine/optimizers/layer_decay_optim_wrapper_constructor.py",
            "LearningRateDecayOptimizerConstructor",
            lambda: vit("MViT", name="blocks"),
            dict(decay_rate=0.75, decay_type="layer_wise", num_layers=4),
        ),
        (
            "mmaction",
            "engine/optimizers/swin_optim_wrapper_constructor.py",
            "SwinOptimWrapperConstructor",
            swin,
            dict(
                relative_position_bias_table=dict(decay_mult=0.0), norm=dict(decay_mult=0.0), backbone=dict(lr_mult=0.1)
            ),
        ),
        (
            "mmaction",
            "engine/optimizers/tsm_optim_wrapper_constructor.py",
            "TSMOptimWrapperConstructor",
            cnn,
            dict(fc_lr5=True),
        ),
        (
            "mmaction",
            "engine/optimizers/tsm_optim_wrapper_constructor.py",
            "TSMOptimWrapperConstructor",
            cnn,
            dict(fc_lr5=False),
        ),
        (
            "mmpose",
            "engine/optim_wrappers/force_default_constructor.py",
            "ForceDefaultOptimWrapperConstructor",
            vit,
            dict(
                force_default_settings=True,
                norm_decay_mult=0.0,
                bias_decay_mult=0.0,
                custom_keys={"backbone.layers": dict(lr_mult=0.05)},
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_parameter_as_the_real_constructor(package, file, name, model, paramwise):
    constructor = getattr(zoo.of_package(package, file), name)
    made = model()
    same(ours(name, made, paramwise), real(constructor, made, paramwise))


def real_of_mmselfsup_0(file, name, model, options, optimizer):
    """Its constructors take mmcv's place in mmcv's registry, so that is put back."""
    from mmcv.runner.optimizer.builder import OPTIMIZER_BUILDERS

    before = dict(OPTIMIZER_BUILDERS.module_dict)
    try:
        constructor = getattr(zoo.load(zoo.OLDER["mmselfsup"] / "core/optimizer" / file), name)
    finally:
        OPTIMIZER_BUILDERS.module_dict.clear()
        OPTIMIZER_BUILDERS.module_dict.update(before)
    made = constructor(dict(optimizer), {key: dict(value) for key, value in options.items()})(model)  # it changes them
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in made.param_groups for p in g["params"]}


NO_DECAY = dict(weight_decay=0.0)


@pytest.mark.parametrize(
    ("name", "model", "options", "more"),
    [
        (None, cnn, {r"(bn|gn)(\d+)?.(weight|bias)": NO_DECAY, "bias": NO_DECAY, r"\Acls_head.": dict(lr_mult=10)}, {}),
        (None, cnn, {"bn": dict(lr=1.0), "weight": dict(lr_mult=2, weight_decay_mult=3), r"bn1\.": dict(lr=0.5)}, {}),
        (None, vit, {"norm|table": NO_DECAY, "^pos": dict(lr_mult=0.1), "layers.0": dict(lr_mult=0.2)}, {}),
        ("vit", lambda: vit("Vit", 12), {"norm": NO_DECAY, "bias": NO_DECAY, "pos_embed": NO_DECAY}, dict(arch="b")),
        ("swin", swin, {"norm": NO_DECAY, "bias": dict(weight_decay=0.01)}, dict(arch="tiny")),
        (None, swin, {"norm": NO_DECAY}, {}),
    ],
)
def test_the_options_of_mmselfsup_0_by_regular_expressions(name, model, options, more):
    made, optimizer = model(), dict(OPTIMIZER)
    file, constructor = "constructor.py", "DefaultOptimizerConstructor"
    if more or name:
        made.backbone.depths = [2, 2, 6, 2]
        optimizer |= dict(layer_decay=0.7, model_type=name)
        file, constructor = "transformer_finetune_constructor.py", "TransformerFinetuneConstructor"
    expected = real_of_mmselfsup_0(file, constructor, made, options, optimizer)
    config = {
        "optimizer": {**optimizer, "paramwise_options": options, "constructor": constructor},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 1},
        "model": {"backbone": {"type": type(made.backbone).__name__, **more}},
    }
    same(as_read(config, made), expected)


@pytest.mark.parametrize(
    ("model_type", "model", "described"),
    [
        ("vit", lambda: vit("MIMVisionTransformer", 12), dict(type="MIMVisionTransformer", arch="b")),
        ("swin", swin, dict(type="SwinTransformer", arch="tiny")),
    ],
)
def test_layer_decay_of_mmselfsup_1(model_type, model, described):
    with zoo.instead("mmselfsup", "mmselfsup.registry", by=zoo.Registries):
        file = "mmselfsup1/mmselfsup/engine/optimizers/layer_decay_optim_wrapper_constructor.py"
        constructor = zoo.load(zoo.ZOO / file).LearningRateDecayOptimWrapperConstructor
    made, optimizer = model(), {**OPTIMIZER, "model_type": model_type, "layer_decay_rate": 0.65}
    made.backbone.depths = [2, 2, 6, 2]
    paramwise = dict(custom_keys={key: dict(decay_mult=0.0) for key in (".norm", ".bias", ".pos_embed", "table")})
    expected = real(constructor, made, paramwise, optimizer)
    got = ours("mmselfsup.LearningRateDecayOptimWrapperConstructor", made, paramwise, optimizer, described)
    same(got, expected)


@pytest.mark.parametrize("batch_size", [32, 64, 128, 192])
def test_the_constructor_of_yolov5_scales_the_decay_with_the_batch(batch_size):
    constructor = zoo.of_package("mmyolo", "engine/optimizers/yolov5_optim_constructor.py").YOLOv5OptimizerConstructor
    model = cnn()
    optimizer = dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=5e-4, batch_size_per_gpu=batch_size)
    expected = real(constructor, model, None, optimizer)  # in one process, so this is the whole batch
    same(ours("YOLOv5OptimizerConstructor", model, None, optimizer, batch_size=batch_size), expected)


def depth_of(file, **attributes):
    """A backbone's own ``get_layer_depth`` in MMPretrain, cut out of its file, which needs mmcv 2 to be imported."""
    tree = ast.parse((zoo.OTHERS["mmpretrain"] / "models/backbones" / file).read_text())
    function = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "get_layer_depth"
    )
    names = {}
    exec(compile(ast.Module([function], []), file, "exec"), names)
    return lambda name: names["get_layer_depth"](types.SimpleNamespace(**attributes), name, "backbone.")


@pytest.mark.parametrize(
    ("file", "attributes", "described", "model"),
    [
        ("vision_transformer.py", dict(num_layers=4), dict(type="VisionTransformer", arch=dict(num_layers=4)), vit),
        ("vision_transformer.py", dict(num_layers=12), dict(type="VisionTransformer"), lambda: vit(count=12)),
        ("beit.py", dict(num_layers=24), dict(type="BEiTViT", arch="l"), lambda: vit(count=24)),
        ("swin_transformer.py", dict(depths=[2, 2, 6, 2]), dict(type="SwinTransformer", arch="tiny"), swin),
        ("convnext.py", dict(depths=[3, 3, 9, 3]), dict(type="mmpretrain.ConvNeXt", arch="tiny"), convnext),
        (
            "convnext.py",
            dict(depths=[3, 3, 27, 3]),
            dict(type="ConvNeXt", arch="base"),
            lambda: convnext((3, 3, 27, 3)),
        ),
    ],
)
def test_layer_decay_of_mmpretrain_as_its_backbones_number_their_layers(file, attributes, described, model):
    """Its rule: ``lr * rate ** (layers - layer - 1)``; the decays are those of mmengine's default constructor."""
    from mmengine.optim import DefaultOptimWrapperConstructor

    made = model()
    paramwise = dict(
        norm_decay_mult=0.0, flat_decay_mult=0.5, custom_keys={".cls_token": dict(decay_mult=0.0), ".pos_embed": {}}
    )
    depth = depth_of(file, **attributes)
    decays = real(DefaultOptimWrapperConstructor, made, paramwise)
    expected = {}
    for name, (_, decay) in decays.items():
        layer, layers = depth(name)
        expected[name] = 2e-3 * 0.8 ** (layers - layer - 1), decay
    paramwise |= dict(layer_decay_rate=0.8)
    same(ours("LearningRateDecayOptimWrapperConstructor", made, paramwise, described=described), expected)


def moved_by_hook(hook, epochs, steps_per_epoch, lrs, momentum):
    """What a hook of MMYOLO has set at each iteration, driven in the order of mmengine's loop."""
    groups = [{"lr": lr, "momentum": momentum} for lr in lrs]
    runner = types.SimpleNamespace(
        optim_wrapper=types.SimpleNamespace(optimizer=types.SimpleNamespace(param_groups=groups)),
        train_dataloader=range(steps_per_epoch),
        iter=0,
        epoch=0,
        param_schedulers=[],
    )
    hook.before_train(runner)
    values = []
    for epoch in range(epochs):
        runner.epoch = epoch
        for batch in range(steps_per_epoch):
            hook.before_train_iter(runner, batch)
            values.append([(group["lr"], group["momentum"]) for group in groups])
            runner.iter += 1
        hook.after_train_epoch(runner)
    return np.array(values)


@pytest.mark.parametrize(
    "settings",
    [
        dict(lr_factor=0.01, max_epochs=20, warmup_mim_iter=10),
        dict(scheduler_type="cosine", lr_factor=0.1, max_epochs=20, warmup_epochs=2.5, warmup_mim_iter=10),
        dict(lr_factor=0.2, max_epochs=30, warmup_epochs=3, warmup_mim_iter=29, warmup_bias_lr=0.05),
        dict(lr_factor=0.2, max_epochs=20, warmup_epochs=1, warmup_mim_iter=57, warmup_momentum=0.5),
    ],
)
def test_the_hook_of_yolov5_at_every_iteration(settings):
    module = zoo.of_package("mmyolo", "engine/hooks/yolov5_param_scheduler_hook.py")
    expected = moved_by_hook(module.YOLOv5ParamSchedulerHook(**settings), 20, 10, [0.01] * 3, 0.937)
    config = {
        "optim_wrapper": {
            "optimizer": dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=5e-4),
            "constructor": "YOLOv5OptimizerConstructor",
        },
        "default_hooks": {"param_scheduler": dict(type="YOLOv5ParamSchedulerHook", **settings)},
        "train_cfg": {"by_epoch": True, "max_epochs": 20},
        "param_scheduler": None,
    }
    curves = js.curves(openmmlab.recipe(config, steps_per_epoch=10))
    for group, place in (("weight", 0), ("norm", 1), ("bias", 2)):
        np.testing.assert_allclose(curves[group]["lr"], expected[:, place, 0], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(curves[group]["momentum"], expected[:, place, 1], rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        dict(warmup_epochs=2, total_epochs=24, warmup_min_iter=5),
        dict(warmup_epochs=1, total_epochs=20, warmup_min_iter=33, start_factor=0.1, min_lr_ratio=0.05),
        dict(warmup_epochs=1, total_epochs=12, warmup_min_iter=5, min_lr_ratio=0.1),  # and up again
    ],
)
def test_the_hook_of_ppyoloe_at_every_iteration(settings):
    module = zoo.of_package("mmyolo", "engine/hooks/ppyoloe_param_scheduler_hook.py")
    expected = moved_by_hook(module.PPYOLOEParamSchedulerHook(**settings), 20, 10, [0.01], 0.9)
    config = {
        "optim_wrapper": {"optimizer": dict(type="SGD", lr=0.01, momentum=0.9)},
        "default_hooks": {"param_scheduler": dict(type="mmyolo.PPYOLOEParamSchedulerHook", **settings)},
        "train_cfg": {"by_epoch": True, "max_epochs": 20},
    }
    got = js.curves(openmmlab.recipe(config, steps_per_epoch=10))["weight"]["lr"]
    np.testing.assert_allclose(got, expected[:, 0, 0], rtol=1e-5, atol=1e-9)
