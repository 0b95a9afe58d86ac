"""paramwise_cfg: each parameter gets the learning rate and weight decay that the real constructors give it."""

import fetch_zoo as zoo
import jax
import jax.numpy as jnp
import pytest

import jaxsched as js
from jaxsched.groups import assign, parameters
from jaxsched.ports import openmmlab

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.norm = nn.LayerNorm(width)
        self.gamma_table = nn.Parameter(torch.zeros(width))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.query_embed = nn.Embedding(3, 4)
        self.backbone = nn.Module()
        self.backbone.conv1 = nn.Conv2d(3, 4, 3)
        self.backbone.bn1 = nn.BatchNorm2d(4)
        self.backbone.stages = nn.ModuleList([Block(4), Block(4)])
        self.head = nn.Linear(4, 2)


def flax_tree(model):
    """The same parameters under the names that Flax would give them."""
    tree = {}
    for name, value in model.named_parameters():
        *path, last = name.split(".")
        module = model.get_submodule(".".join(path))
        is_norm = isinstance(module, (nn.BatchNorm2d, nn.LayerNorm))
        if last == "weight":
            last = "scale" if is_norm else "embedding" if isinstance(module, nn.Embedding) else "kernel"
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = jnp.zeros(value.shape)
    return tree


def real_groups(mmcv, mmengine, generation, optimizer, paramwise):
    """For each parameter's name the (lr, weight decay) that the real constructor gives it."""
    model = Model()
    config = {"type": "SGD", **optimizer}
    if generation == 1:
        from mmcv.runner.optimizer import DefaultOptimizerConstructor

        made = DefaultOptimizerConstructor(config, paramwise)(model)
    else:
        from mmengine.optim import DefaultOptimWrapperConstructor

        made = DefaultOptimWrapperConstructor({"optimizer": config}, paramwise)(model).optimizer
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in made.param_groups for p in g["params"]}


def our_groups(generation, optimizer, paramwise):
    if generation == 1:
        config = {"optimizer": {"type": "SGD", **optimizer, "paramwise_cfg": paramwise}}
        config["runner"] = {"type": "EpochBasedRunner", "max_epochs": 1}
    else:
        config = {"optim_wrapper": {"optimizer": {"type": "SGD", **optimizer}, "paramwise_cfg": paramwise}}
        config["train_cfg"] = {"by_epoch": True, "max_epochs": 1}
    recipe = openmmlab.recipe(config, steps_per_epoch=10, depthwise="**/depthwise/**")
    found = parameters(flax_tree(Model()))
    groups = recipe.by_group()
    result = {}
    for parameter, rule in zip(found, assign(found, recipe.rules), strict=True):
        values = groups[recipe.rules[rule].group]
        *path, last = parameter.path.split("/")
        torch_name = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(last, last)
        result[".".join([*path, torch_name])] = float(values["lr"](0)), values["weight_decay"]
    return result


EVERY = [
    {},
    {"norm_decay_mult": 0.0},
    {"bias_decay_mult": 0.0},
    {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0},
    {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "bypass_duplicate": True},
    {"dwconv_decay_mult": 0.5},
    {"norm_decay_mult": 0.1, "bias_decay_mult": 0.2, "dwconv_decay_mult": 0.3, "bias_lr_mult": 3.0},
    {"custom_keys": {"backbone": {"lr_mult": 0.1}}},
    {"custom_keys": {"backbone": {"lr_mult": 0.1, "decay_mult": 0.5}, "norm": {"decay_mult": 0.0}}},
    {"custom_keys": {"backbone.stages.0": {"lr_mult": 0.1}, "backbone.stages.1": {"lr_mult": 0.2}, "head": {}}},
    {"custom_keys": {".logit_scale": {"decay_mult": 0.0}, "embed": {"lr_mult": 0.5}}, "norm_decay_mult": 0.0},
    {
        "custom_keys": {
            "stages": {"lr_mult": 0.3},
            "bn": {"lr_mult": 0.4},
            "nb": {"lr_mult": 0.5},
            "bias": {"lr_mult": 2},
        }
    },
    {"custom_keys": {"": {"lr_mult": 0.5}}},
]
SECOND = [
    {"flat_decay_mult": 0.0},
    {"flat_decay_mult": 0.0, "norm_decay_mult": 0.5},
    {"flat_decay_mult": 0.25, "bias_decay_mult": 0.5, "dwconv_decay_mult": 0.75},
]


@pytest.mark.parametrize(
    ("generation", "paramwise"), [(1, p) for p in EVERY] + [(2, p) for p in EVERY + SECOND], ids=str
)
def test_every_parameter_as_the_real_constructor(originals, generation, paramwise):
    optimizer = {"lr": 0.02, "weight_decay": 1e-4, "momentum": 0.9}
    expected = real_groups(*originals, generation, optimizer, paramwise)
    got = our_groups(generation, optimizer, paramwise)
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], rel=1e-6), name


def test_a_custom_key_of_mmengine_may_set_a_hyperparameter_itself(originals):
    paramwise = {"custom_keys": {"head": {"lr": 0.5, "weight_decay": 0.3, "momentum": 0.1}}}
    config = {
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9}, "paramwise_cfg": paramwise},
        "train_cfg": {"by_epoch": True, "max_epochs": 1},
    }
    head = openmmlab.recipe(config, steps_per_epoch=10).by_group()["head"]
    assert (float(head["lr"](0)), head["weight_decay"], head["momentum"]) == (0.5, 0.3, 0.1)


CONVNEXT = [
    *(f"backbone.downsample_layers.{k}.0.weight" for k in range(4)),
    *(f"backbone.stages.{k}.{j}.depthwise_conv.{n}" for k in range(4) for j in range(9) for n in ("weight", "bias")),
    *("backbone.norm3.weight", "backbone.norm3.bias", "neck.lateral.conv.weight", "head.fc.weight", "head.fc.bias"),
]


@pytest.mark.parametrize("kind", ["layer_wise", "stage_wise"])
@pytest.mark.parametrize("layers", [6, 12])
def test_layer_decay_as_the_real_constructor(originals, kind, layers):
    """The layer of each name comes from the original's own functions; its scale is ``decay_rate ** (L - 1 - id)``."""
    layer_decay = zoo.layer_decay_functions()
    tree = {}
    for name in CONVNEXT:
        *path, last = name.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        is_norm = "norm" in name
        node[{"weight": "scale" if is_norm else "kernel"}.get(last, last)] = jnp.zeros(
            4 if is_norm or last == "bias" else (2, 2)
        )
    config = {
        "optim_wrapper": {
            "optimizer": {"type": "AdamW", "lr": 2e-4, "weight_decay": 0.05},
            "paramwise_cfg": {"decay_rate": 0.7, "decay_type": kind, "num_layers": layers},
            "constructor": "LearningRateDecayOptimizerConstructor",
        },
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 1},
    }
    recipe = openmmlab.recipe(config, steps_per_epoch=10)
    groups, found = recipe.by_group(), parameters(tree)
    by_name = {
        parameter.path: recipe.rules[rule].group
        for parameter, rule in zip(found, assign(found, recipe.rules), strict=True)
    }
    for name in CONVNEXT:
        path = name.replace(".", "/")
        group = groups[
            by_name.get(path.replace("weight", "kernel"))
            or by_name.get(path.replace("weight", "scale"))
            or by_name[path]
        ]
        top = layers + 2
        layer = (
            layer_decay["layer_wise"](name, layers) if kind == "layer_wise" else layer_decay["stage_wise"](name, top)
        )
        assert float(group["lr"](0)) == pytest.approx(2e-4 * 0.7 ** (top - layer - 1), rel=1e-6), name
        flat = "norm" in name or name.endswith("bias")
        assert group["weight_decay"] == (0.0 if flat else 0.05), name


def test_the_groups_of_a_swin_config_cover_a_tree_and_merge_by_what_they_set(originals):
    recipe = openmmlab.read(
        zoo.CONFIGS_3 / "mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py", steps_per_epoch=10
    )
    assert len(recipe.by_group()) <= 6  # 31 keys
    tree = {
        "backbone": {
            "patch_embed": {
                "norm": {"scale": jnp.ones(2), "bias": jnp.ones(2)},
                "projection": {"kernel": jnp.ones((2, 2))},
            }
        }
    }
    tree["head"] = {
        "query_embed": {"embedding": jnp.ones((2, 2))},
        "fc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    }
    state = recipe.build().init(tree)
    assert js.hyperparams(state)
    labels = js.groups.labels(tree, recipe.rules)
    groups = recipe.by_group()
    values = jax.tree.map(lambda label: (float(groups[label]["lr"](1000)), groups[label]["weight_decay"]), labels)
    assert values["backbone"]["patch_embed"]["norm"]["scale"] == pytest.approx((1e-5, 0.0))
    assert values["backbone"]["patch_embed"]["projection"]["kernel"] == pytest.approx((1e-5, 0.05))
    assert values["head"]["query_embed"]["embedding"] == pytest.approx((1e-4, 0.0))
    assert values["head"]["fc"]["bias"] == pytest.approx((1e-4, 0.05))
