"""timm's schedulers, groups and averages, live: the same lr at each epoch or update, past the end too."""

import importlib.util
import inspect

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import jaxsched as js
from jaxsched.ports import timm as ours

torch = pytest.importorskip("torch")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed", allow_module_level=True)

BASES = (0.1, 0.003)


@pytest.fixture(scope="module")
def timm():
    from _torchvision import declare_operators

    declare_operators()
    import timm
    import timm.optim
    import timm.scheduler
    import timm.utils

    return timm


def optimizer(bases=BASES):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in bases]
    return torch.optim.SGD(groups, lr=bases[0])


def theirs_at(scheduler, steps, on_epochs=True):
    rows = []
    for t in steps:
        (scheduler.step if on_epochs else scheduler.step_update)(t)
        rows.append([group["lr"] for group in scheduler.optimizer.param_groups])
    return np.asarray(rows)


def compare(scheduler, mine, steps=range(128), on_epochs=True):
    # Arrays of one length only, so that jax compiles each operation once for all tests.
    expected = np.resize(theirs_at(scheduler, steps, on_epochs), (128, len(BASES)))
    at = np.resize(np.asarray(list(steps)), 128)
    for double in (False, True):
        with jax.enable_x64(double):
            for group, base in enumerate(BASES):
                # relative to the largest lr: timm's own cosines cancel near their ends
                tolerance = (1e-12 if double else 1e-6) * max(expected[:, group].max(), 1e-30)
                np.testing.assert_allclose(mine(base)(at), expected[:, group], rtol=0, atol=tolerance)


WARM = dict(warmup_t=5, warmup_lr_init=1e-4)
CASES = {
    "cosine": ("CosineLRScheduler", dict(t_initial=100)),
    "cosine, warm": ("CosineLRScheduler", dict(t_initial=50, lr_min=1e-3, **WARM)),
    "cosine, prefix": ("CosineLRScheduler", dict(t_initial=50, lr_min=1e-3, warmup_prefix=True, **WARM)),
    "cosine, cycles": ("CosineLRScheduler", dict(t_initial=20, cycle_decay=0.5, cycle_limit=4, k_decay=1.7)),
    "cosine, many cycles": ("CosineLRScheduler", dict(t_initial=7, cycle_decay=0.9, cycle_limit=10**6)),
    "cosine, longer cycles": ("CosineLRScheduler", dict(t_initial=3, cycle_mul=2.0, cycle_decay=0.5, cycle_limit=9)),
    "cosine, odd cycles": ("CosineLRScheduler", dict(t_initial=7, cycle_mul=1.31, cycle_limit=9, k_decay=0.6, **WARM)),
    "cosine, shorter cycles": ("CosineLRScheduler", dict(t_initial=60, cycle_mul=0.5, cycle_limit=3)),
    "cosine, no cycle": ("CosineLRScheduler", dict(t_initial=60, cycle_limit=0, lr_min=0.01)),
    "tanh": ("TanhLRScheduler", dict(t_initial=60, lr_min=1e-4, **WARM)),
    "tanh, prefix": ("TanhLRScheduler", dict(t_initial=60, lb=-3.0, ub=5.0, warmup_prefix=True, **WARM)),
    "tanh, cycles": ("TanhLRScheduler", dict(t_initial=9, cycle_mul=1.5, cycle_decay=0.7, cycle_limit=4)),
    "poly": ("PolyLRScheduler", dict(t_initial=60, lr_min=1e-4, **WARM)),
    "poly, cycles": ("PolyLRScheduler", dict(t_initial=25, power=2.5, k_decay=1.5, cycle_limit=3, cycle_decay=0.4)),
    "step": ("StepLRScheduler", dict(decay_t=30, decay_rate=0.2, **WARM)),
    "step, fraction": ("StepLRScheduler", dict(decay_t=2.4, decay_rate=0.97, warmup_prefix=False, **WARM)),
    "multi step": ("MultiStepLRScheduler", dict(decay_t=[1, 30, 60], decay_rate=0.3)),
    "multi step, warm": ("MultiStepLRScheduler", dict(decay_t=[0, 3, 30, 30.5], decay_rate=0.3, **WARM)),
    "wsd": ("WSDLRScheduler", dict(t_initial=80, decay_t=20, **WARM)),
    "wsd, rsqrt": ("WSDLRScheduler", dict(t_initial=80, decay_t=20, stable_fn="rsqrt", decay_fn="linear", **WARM)),
    "wsd, power": (
        "WSDLRScheduler",
        dict(t_initial=80, decay_t=80, stable_fn="power", stable_power=3.3, stable_timescale=4.5, lr_min=1e-3),
    ),
    "wsd, cosine": ("WSDLRScheduler", dict(t_initial=80, decay_t=33, decay_fn="cosine", lr_min=1e-3, **WARM)),
    "wsd, by power": ("WSDLRScheduler", dict(t_initial=80, decay_t=33, decay_fn="power", decay_power=2.2, lr_min=1e-3)),
    "wsd, exp": ("WSDLRScheduler", dict(t_initial=80, decay_t=33, decay_fn="exp", decay_ratio=0.03, lr_min=1e-3)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_class(timm, case):
    name, arguments = CASES[case]
    scheduler = getattr(timm.scheduler, name)(optimizer(), **arguments)
    mine = getattr(ours, name)(**arguments)
    last = 119 if arguments.get("cycle_mul") == 0.5 else 128
    compare(scheduler, mine, range(last))
    if hasattr(scheduler, "get_cycle_length"):
        assert mine.get_cycle_length() == scheduler.get_cycle_length()
    for base in BASES:  # a schedule of a port comes back from JSON
        recipe = js.Recipe("sgd", {"lr": mine(base)})
        assert js.Recipe.from_json(recipe.to_json()) == recipe


def test_timm_ends_a_cycle_at_the_step_that_its_logarithm_says(timm):
    arguments = dict(t_initial=2, cycle_mul=3.0, cycle_limit=7, lr_min=1e-3)
    compare(
        timm.scheduler.CosineLRScheduler(optimizer(), **arguments), ours.CosineLRScheduler(**arguments), range(230, 260)
    )
    assert ours.CosineLRScheduler(**arguments)(0.1)(242) == pytest.approx(1e-3)  # 242 = 2 + 6 + 18 + 54 + 162


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["cosine", "poly", "tanh"]),
    mul=st.sampled_from([1.0, 1.0, 2.0, 3.0]) | st.floats(1.05, 3.0),
    steps=st.integers(1, 40),
    limit=st.integers(0, 6),
    decay=st.floats(0.1, 1.2),
    prefix=st.booleans(),
    warm=st.integers(0, 30),
    k=st.floats(0.3, 3.0),
)
def test_any_cycles(timm, kind, mul, steps, limit, decay, prefix, warm, k):
    arguments = dict(t_initial=steps, cycle_mul=mul, cycle_limit=limit, cycle_decay=decay, lr_min=1e-4)
    arguments |= dict(warmup_t=warm, warmup_lr_init=1e-3, warmup_prefix=prefix)
    name = {"cosine": "CosineLRScheduler", "poly": "PolyLRScheduler", "tanh": "TanhLRScheduler"}[kind]
    if kind != "tanh":
        arguments["k_decay"] = k
    try:
        scheduler = getattr(timm.scheduler, name)(optimizer(), **arguments)
        theirs_at(scheduler, range(90))
    except (ValueError, TypeError, OverflowError):  # (1 - x) ** power of an x rounded above 1 is complex
        assume(False)
    assume(all(isinstance(g["lr"], float) for g in scheduler.optimizer.param_groups))
    compare(scheduler, getattr(ours, name)(**arguments), range(90))


FACTORY = [
    dict(sched="cosine", num_epochs=30, warmup_epochs=3, min_lr=1e-4, cooldown_epochs=4, k_decay=1.3),
    dict(sched="cosine", num_epochs=10, cycle_limit=3, cycle_mul=2.0, warmup_epochs=2, warmup_prefix=True),
    dict(sched="tanh", num_epochs=30, warmup_epochs=5),
    dict(sched="poly", num_epochs=30, decay_rate=0.9, cooldown_epochs=1),
    dict(sched="step", num_epochs=30, decay_epochs=2.5, decay_rate=0.9, warmup_epochs=2),
    dict(sched="multistep", num_epochs=30, decay_milestones=[3, 9], warmup_epochs=2, warmup_prefix=True),
    dict(sched="constant", num_epochs=30, warmup_epochs=2),
    dict(sched="wsd", num_epochs=30, warmup_epochs=2),
    dict(sched="wsd", num_epochs=30, warmup_epochs=2, decay_epochs=7, warmup_prefix=True, decay_fn="exp"),
    dict(sched="rsqrt", num_epochs=30, warmup_epochs=2, stable_timescale=4),
]


@pytest.mark.parametrize("updates", [0, 7])
@pytest.mark.parametrize("arguments", FACTORY, ids=lambda a: a["sched"])
def test_create_scheduler_v2(timm, arguments, updates):
    more = dict(step_on_epochs=False, updates_per_epoch=updates) if updates else {}
    scheduler, epochs = timm.scheduler.create_scheduler_v2(optimizer(), **arguments, **more)
    mine, mine_epochs = ours.create_scheduler_v2(**arguments, **more)
    assert mine_epochs == epochs
    compare(scheduler, mine, range(0, 256, 2) if updates else range(40), on_epochs=not updates)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau(timm, mode):
    arguments = dict(
        decay_rate=0.3, patience_t=2, warmup_t=3, warmup_lr_init=0.01, lr_min=1e-3, mode=mode, cooldown_t=1
    )
    scheduler = timm.scheduler.PlateauLRScheduler(optimizer(), **arguments)
    metrics = np.random.default_rng(0).normal(size=40)
    lr = js.per_epoch(ours.PlateauLRScheduler(**arguments)(BASES[0]), 1)
    tx = js.sgd(lr=lr)
    params = {"kernel": np.zeros(1, np.float32)}
    update, report = jax.jit(tx.update), jax.jit(js.report_metric)
    state = tx.init(params)
    scheduler.step(0)
    for epoch, metric in enumerate(metrics):
        _, state = update(params, state, params)
        used = js.hyperparams(state)["weight"]["lr"]
        np.testing.assert_allclose(used, scheduler.optimizer.param_groups[0]["lr"], rtol=1e-6, err_msg=str(epoch))
        state = report(state, metric)
        scheduler.step(epoch + 1, float(metric))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 2, 1)
        self.block = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.LayerNorm(2)])
        self.pos = torch.nn.Parameter(torch.zeros(1, 2, 2))
        self.head = torch.nn.Linear(2, 3)

    def group_matcher(self, coarse=False):
        return {"stem": r"^stem|^pos", "blocks": r"^block\.(\d+)"}

    def no_weight_decay(self):
        return {"pos"}


def as_tree(model):
    """The parameters under the same paths, their values the names."""
    return {name.replace(".", "/"): np.zeros(p.shape, np.float32) for name, p in model.named_parameters()}


@pytest.mark.parametrize("more", [{}, dict(layer_decay=0.6), dict(layer_decay=0.5, layer_decay_min_scale=0.2)])
@pytest.mark.parametrize("opt", ["sgd", "adamw", "rmsprop", "lambc", "radamw"])
def test_groups_and_options(timm, opt, more):
    args = dict(opt=opt, lr=0.2, weight_decay=0.05, momentum=0.8, sched="none", **more)
    model = Model()
    keywords = {**args, **more}
    keywords.pop("sched")
    theirs = timm.optim.create_optimizer_v2(model, **keywords)
    expected = {}
    for group in theirs.param_groups:
        for name, p in model.named_parameters():
            if any(p is q for q in group["params"]):
                expected[name.replace(".", "/")] = group
    layers = ["stem/**|pos", "block/0/**", "block/1/**", "head/**"]
    matches = [js.groups.glob("stem/**") | "pos", "block/0/**", "block/1/**", "head/**"]
    assert len(layers) == len(matches)
    # sched="cosine" so that lr_scale acts, as timm's schedulers apply it
    recipe = ours.recipe(
        {**args, "sched": "constant", "warmup_epochs": 0}, steps_per_epoch=10, layers=matches, no_weight_decay=["pos"]
    )
    tree = as_tree(model)
    labels = js.groups.labels(_nested(tree), recipe.rules)
    curves = js.curves(recipe, [0])
    found = {
        p.path: label for p, label in zip(js.groups.parameters(_nested(tree)), jax.tree.leaves(labels), strict=True)
    }
    by_group = recipe.by_group()
    for name, group in expected.items():
        mine = curves[found[name]]
        scale = group.get("lr_scale", 1.0)
        np.testing.assert_allclose(
            [mine["lr"][0], mine["weight_decay"][0]], [0.2 * scale, group["weight_decay"]], rtol=1e-6
        )
        for option in ("momentum", "nesterov", "eps", "betas", "alpha", "trust_clip", "decoupled_weight_decay"):
            if option in group and option in by_group[found[name]]:
                assert by_group[found[name]][option] == group[option], option
    recipe.build()


def _nested(tree):
    nested = {}
    for path, leaf in tree.items():
        node = nested
        *outer, last = path.split("/")
        for name in outer:
            node = node.setdefault(name, {})
        node[last] = leaf
    return nested


@pytest.mark.parametrize("warmup", [False, True])
def test_average(timm, warmup):
    ema = timm.utils.ModelEmaV3(torch.nn.Linear(1, 1), decay=0.98, use_warmup=warmup)
    recipe = ours.recipe(dict(model_ema=True, model_ema_decay=0.98, model_ema_warmup=warmup), steps_per_epoch=5)
    # update k, from 1, in train.py is index k - 1 here
    expected = [ema.get_decay(k) for k in range(1, 800)]
    np.testing.assert_allclose(js.schedules.value_at(recipe.ema, np.arange(799)), expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize(
    "name", sorted({name for name, _ in CASES.values()}) + ["PlateauLRScheduler", "create_scheduler_v2"]
)
def test_the_same_arguments_and_defaults(timm, name):
    def arguments(function):
        parameters = list(inspect.signature(function).parameters.values())
        return [(p.name, p.default) for p in parameters if p.name != "optimizer"]

    assert arguments(getattr(ours, name)) == arguments(getattr(timm.scheduler, name))
