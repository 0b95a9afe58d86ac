"""Roles, rules, coverage, masks: on each kind of tree that people train."""

import dataclasses
import pickle
import re

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.groups._glob import fits, matches


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x))
        x = nn.LayerNorm(use_scale=False)(x)
        return nn.Dense(3, name="head")(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.bn = nnx.BatchNorm(4, rngs=rngs)
        self.layers = getattr(nnx, "List", list)([nnx.Linear(4, 4, rngs=rngs)])


class Eqx(eqx.Module):
    conv: eqx.nn.Conv2d
    group: eqx.nn.GroupNorm
    layers: list

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=key)
        self.group = eqx.nn.GroupNorm(2, 4)
        self.layers = [eqx.nn.Linear(3, 3, key=key), eqx.nn.LayerNorm(3)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: jax.Array
    bias: jax.Array


LINEN = {
    "BatchNorm_0/bias": "norm_bias",
    "BatchNorm_0/scale": "norm",
    "Conv_0/bias": "bias",
    "Conv_0/kernel": "weight",
    "LayerNorm_0/bias": "norm_bias",
    "head/bias": "bias",
    "head/kernel": "weight",
}
NNX = {
    "bn/bias": "norm_bias",
    "bn/scale": "norm",
    "conv/bias": "bias",
    "conv/kernel": "weight",
    "layers/0/bias": "bias",
    "layers/0/kernel": "weight",
}
EQX = {
    "conv/weight": "weight",
    "conv/bias": "bias",
    "group/weight": "norm",
    "group/bias": "norm_bias",
    "layers/0/weight": "weight",
    "layers/0/bias": "bias",
    "layers/1/weight": "norm",
    "layers/1/bias": "norm_bias",
}
HAIKU = {"conv/w": "weight", "conv/b": "bias", "norm/scale": "norm", "norm/offset": "norm_bias"}


def linen_params():
    return Linen().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]


def eqx_params():
    return eqx.filter(Eqx(jax.random.key(0)), eqx.is_inexact_array)


def nnx_state():
    return nnx.state(Nnx(nnx.Rngs(0)), nnx.Param)


TREES = {
    "linen": (linen_params, LINEN),
    "nnx state": (nnx_state, NNX),
    "nnx pure": (lambda: nnx.to_pure_dict(nnx_state()), NNX),
    "equinox": (eqx_params, EQX),
    "haiku": (lambda: {"conv": {"w": 1.0, "b": 1.0}, "norm": {"scale": 1.0, "offset": 1.0}}, HAIKU),
    "dataclass": (
        lambda: {"stem": Layer(jnp.ones((2, 2)), jnp.ones(2))},
        {"stem/kernel": "weight", "stem/bias": "bias"},
    ),
}


@pytest.mark.parametrize("kind", TREES)
def test_roles_of_each_kind_of_tree(kind):
    make, expected = TREES[kind]
    assert {p.path: p.role for p in js.groups.parameters(make())} == expected


class OddlyNamed(nnx.Module):
    def __init__(self, rngs):
        self.one = nnx.LoRA(3, 2, 4, rngs=rngs)
        self.two = nnx.LayerNorm(4, rngs=rngs)


def test_a_module_of_nnx_tells_norms_by_their_classes():
    roles = {p.path: p.role for p in js.groups.parameters(OddlyNamed(nnx.Rngs(0)))}
    assert roles == {
        "one/lora_a": "weight", "one/lora_b": "weight", "two/scale": "norm", "two/bias": "norm_bias"
    }  # fmt: skip


@pytest.mark.parametrize(
    "use", [js.groups.parameters, js.groups.roles, js.groups.labels, js.mask("norm"), js.sgd(lr=0.1).init]
)
@pytest.mark.parametrize("tree", [lambda model: model, nnx.state])
def test_what_is_no_param_is_refused(use, tree):
    """A BatchNorm's mean is nothing to train, to decay or to label as a weight."""
    with pytest.raises(TypeError, match=r"bn/mean is an NNX BatchStat, .*nnx\.state\(model, nnx\.Param\)"):
        use(tree(Nnx(nnx.Rngs(0))))
    use(nnx.state(Nnx(nnx.Rngs(0)), nnx.Param))


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("backbone/layer1/0/bn1/scale", "norm"),
        ("backbone/layer1/0/bn1/bias", "norm_bias"),
        ("block/norm1/bias", "norm_bias"),
        ("block/layer_norm/bias", "norm_bias"),
        ("block/attn/qkv_bias", "bias"),
        ("block/gamma", "norm"),
        ("pos_embed", "weight"),
        ("normalizer_head/kernel", "weight"),
        ("conv_bn_fused/kernel", "weight"),
    ],
)
def test_role_from_names_alone(path, role):
    tree = jnp.ones(3)
    for name in reversed(path.split("/")):
        tree = {name: tree}
    assert js.groups.parameters(tree)[0] == js.groups.Parameter(path, role, (3,), jnp.float32)


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("**", {"head", "head/w", "body/0/w", "body/0/w2"}),
        ("head/**", {"head", "head/w"}),
        ("body/*/w", {"body/0/w"}),
        ("**/w", {"head/w", "body/0/w"}),
        ("*/w", {"head/w"}),
        ("body/**/w?", {"body/0/w2"}),
        ("head.w", set()),
        ("**/**", {"head", "head/w", "body/0/w", "body/0/w2"}),
        ("**/0/**", {"body/0/w", "body/0/w2"}),
        ("body/**/**", {"body/0/w", "body/0/w2"}),
        ("b*d*/**/*w*", {"body/0/w", "body/0/w2"}),
        ("?*/w", {"head/w"}),
        ("*", {"head"}),
        ("head/**/**", {"head", "head/w"}),
        ("h[ae]*", set()),
    ],
)
def test_globs(pattern, matching):
    paths = ["head", "head/w", "body/0/w", "body/0/w2"]
    condition = js.groups.glob(pattern)
    assert {path for path in paths if condition(js.groups.Parameter(path, "weight", (), None))} == matching


@given(
    st.lists(st.text("ab*?", max_size=4) | st.just("**"), min_size=1, max_size=5).map("/".join),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join),
)
def test_globs_mean_what_a_regular_expression_would(pattern, path):
    """Each ``**`` any number of names with what joins them, each ``*`` and ``?`` within a name."""
    names = [
        "(/[^/]+)*" if name == "**" else "/" + "".join({"*": "[^/]*", "?": "[^/]"}.get(c, c) for c in name)
        for name in pattern.split("/")
    ]
    assert matches(pattern, path) == (re.fullmatch("".join(names), f"/{path}") is not None)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("**/" * 40 + "x", "a/" * 400 + "y"), ("*a" * 40 + "b", "a" * 4000), ("**/*a*/" * 30 + "b", "aa/" * 300 + "a")],
)
def test_a_glob_takes_no_more_steps_than_its_length_times_the_path(pattern, path):
    """A rule may come from a file of anyone: as a regular expression these would run for longer than anyone lives."""
    steps = 0

    def is_one(piece, item):
        nonlocal steps
        steps += 1
        return piece == item

    fits(pattern, path, "*", is_one)
    assert 0 < steps <= 2 * len(pattern) * len(path)
    assert not js.groups.glob(pattern)(js.groups.Parameter(path, "weight", (), None))


def test_first_match_wins():
    tree = {"head": {"kernel": 1.0, "bias": 2.0}, "body": {"kernel": 3.0}}
    rules = [("head/bias", "a"), ("head/**", "b"), ("**", "c")]
    assert js.groups.labels(tree, rules) == {"head": {"kernel": "b", "bias": "a"}, "body": {"kernel": "c"}}


def test_conditions_combine_print_and_pickle():
    condition = (
        (js.role("bias") | js.role("norm"))
        & ~js.groups.glob("head/**")
        & js.groups.contains("body")
        & js.groups.ndim(1)
    )
    assert condition(js.groups.Parameter("body/bias", "bias", (3,), None))
    assert not condition(js.groups.Parameter("head/body/bias", "bias", (3,), None))
    assert not condition(js.groups.Parameter("body/bias", "bias", (3, 3), None))
    assert pickle.loads(pickle.dumps(condition)) == condition
    assert repr(js.role("bias")) == "role('bias')"


def test_a_regex_is_searched_in_the_path():
    named = js.groups.regex(r"(bn|gn)(\d+)?/(scale|bias)")
    assert [named(js.groups.Parameter(f"neck/{path}", "norm", (3,), None)) for path in ("bn12/bias", "gn/w")] == [1, 0]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+$", "too long"),
        ("(a|a)*b", "too long"),
        ("a?" * 30 + "a" * 30, "too long"),
        ("(a|a)" * 30, "too long"),
        (".*.*.*.*x", "too long"),
        ("(" * 3, "not a regular expression"),
        ("a{99999999999}", "not a regular expression"),
    ],
)
def test_a_regex_that_may_take_long_is_refused(pattern, why):
    with pytest.raises(ValueError, match=why):
        js.groups.regex(pattern)


def test_uncovered_parameters_are_listed_with_a_remedy():
    with pytest.raises(ValueError, match=r"(?s)2 parameters belong to no group.*body/bias.*\(2,\).*\"\*\*\""):
        js.groups.labels({"body": {"bias": jnp.ones(2), "w": jnp.ones(3)}, "head": jnp.ones(3)}, [("head", "head")])


def test_a_rule_that_matches_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"(?s)1 rule matches no parameter.*'heed/\*\*' -> 'head'.*head/w"):
        js.groups.labels({"head": {"w": 1.0}}, [("heed/**", "head"), ("**", "body")])


def test_a_rule_behind_a_wider_one_is_an_error():
    with pytest.raises(ValueError, match="earlier rules"):
        js.groups.labels({"head": {"w": 1.0}}, [("**", "body"), ("head/**", "head")])


def test_an_optional_rule_may_match_nothing():
    rules = [js.groups.Rule("heed/**", "head", optional=True), ("**", "body")]
    assert js.groups.labels({"head": {"w": 1.0}}, rules) == {"head": {"w": "body"}}


@pytest.mark.parametrize("rules", [["head"], [("head",)], [("a", 1)], [(1, "a")]])
def test_malformed_rules(rules):
    with pytest.raises(TypeError, match=r"rules\[0\]"):
        js.groups.labels({"head": 1.0}, rules)


def test_unknown_role_and_unknown_group():
    with pytest.raises(ValueError, match="'biases' is not a role"):
        js.role("biases")
    with pytest.raises(ValueError, match="'biases' is not a group"):
        js.mask("biases")


def test_masks_fit_any_optax_chain():
    params = {"conv": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
    tx = optax.masked(optax.add_decayed_weights(0.5), js.mask("weight"))
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_array_equal(updates["conv"]["kernel"], [0.5, 0.5])
    np.testing.assert_array_equal(updates["conv"]["bias"], [0.0, 0.0])


def test_every_parameter_is_in_exactly_one_mask():
    tree = linen_params()
    counts = jax.tree.map(lambda *flags: sum(flags), *(js.mask(g)(tree) for g in ("weight", "norm", "bias")))
    assert set(jax.tree.leaves(counts)) == {1}


@pytest.mark.parametrize("weight", ["kernel", "w", "weight"])
def test_a_scale_beside_a_weight_makes_no_norm(weight):
    """As the scale of a weight-normalised or quantised layer, whatever the library calls the weight."""
    found = js.groups.roles({"layer": {weight: 1.0, "b": 1.0, "scale": 1.0}})["layer"]
    assert found == {weight: "weight", "b": "bias", "scale": "weight"}
