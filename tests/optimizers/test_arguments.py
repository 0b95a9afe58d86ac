"""What an optimizer refuses: the field, the value, the remedy."""

import inspect

import jax.numpy as jnp
import pytest

import jaxsched as js
from jaxsched.optimizers.internal import definition_of


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.adagrad(lr_decay=-1.0), r"adagrad: lr_decay must be >= 0, got -1.0"),
        (lambda: js.adagrad(initial_accumulator_value=-0.1), r"initial_accumulator_value must be >= 0"),
        (lambda: js.rmsprop(alpha=-0.5), r"rmsprop: alpha must be >= 0"),
        (lambda: js.adadelta(rho=1.5), r"adadelta: rho must be in \[0, 1\], got 1.5"),
        (lambda: js.adamax(betas=(0.9, 1.0)), r"adamax: betas\[1\] must be in \[0, 1\), got 1.0"),
        (lambda: js.nadam(momentum_decay=-1), r"nadam: momentum_decay must be >= 0"),
        (lambda: js.radam(eps=-1e-8), r"radam: eps must be >= 0"),
        (lambda: js.adafactor(d=0.5), r"adafactor: d must be >= 1"),
        (lambda: js.adafactor(beta2_decay=0.8), r"adafactor: beta2_decay must be <= 0"),
        (lambda: js.lamb(max_grad_norm=0.0), r"lamb: max_grad_norm must be > 0"),
        (lambda: js.muon(adjust_lr_fn="none"), r"muon: adjust_lr_fn must be one of None, 'original'"),
        (lambda: js.muon(ns_steps=100), r"muon: ns_steps must be a whole number from 0 to 99, got 100"),
        (lambda: js.muon(ns_coefficients=(1.0, 2.0)), r"muon: ns_coefficients must be a tuple of 3 numbers"),
        (lambda: js.optimizers.musgd(outputs="middle"), r"musgd: outputs must be one of 'first', 'last', got 'middle'"),
        (lambda: js.rprop(etas=(1.2, 0.5)), r"rprop: etas\[0\] must be between 0 and 1, got 1.2"),
        (lambda: js.rprop(groups={"bias": dict(etas=(0.5, 0.5))}), r"rprop: groups\['bias'\]: etas\[1\] must be > 1"),
        (lambda: js.sgd(momentum=0.9, nesterov=True, dampening=0.1), r"sgd: nesterov needs dampening=0"),
        (lambda: js.sgd(groups={"bias": dict(nesterov=True)}), r"sgd: nesterov needs a momentum"),
        (lambda: js.sgd(lr=float("nan")), r"sgd: lr must be"),
        (lambda: js.sgd(momentum=float("inf")), r"sgd: momentum must be finite"),
    ],
)
def test_a_number_out_of_its_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.adam(betas=0.9), r"adam: betas must be a tuple of 2 numbers, got 0.9"),
        (lambda: js.adam(betas=(0.9,)), r"adam: betas must be a tuple of 2 numbers, got \(0.9,\)"),
        (lambda: js.adafactor(eps=1e-3), r"adafactor: eps must be a tuple of 2 numbers, got 0.001"),
        (lambda: js.adafactor(eps=(None, None)), r"adafactor: eps\[1\] must be a number"),
        (lambda: js.adam(eps=(1e-8, 1e-8)), r"adam: eps must be a number, got \(1e-08"),
        (lambda: js.sgd(lr=(0.1, 0.2)), r"sgd: lr must be a number, got \(0.1, 0.2\)"),
        (lambda: js.sgd(momentum=0.9, dampening="0.1"), r"sgd: dampening must be a number, got the string '0.1'"),
        (lambda: js.asgd(t0=None), r"asgd: t0 must be a number, got None"),
        (lambda: js.sgd(momentum=0.9, nesterov=1), r"sgd: nesterov must be a bool, got 1"),
        (
            lambda: js.adam(groups={"bias": dict(amsgrad="no")}),
            r"adam: groups\['bias'\]: amsgrad must be a bool, got 'no'",
        ),
        (
            lambda: js.optimizers.musgd(groups={"bias": dict(outputs="middle")}),
            r"musgd: groups\['bias'\]: outputs must be one of 'first', 'last'",
        ),
        (lambda: js.sgd(groups=[("bias", {})]), r"sgd: groups must be a dict, from a group's name"),
        (lambda: js.sgd(groups={"bias": 0.1}), r"sgd: groups\['bias'\] must be a dict of hyperparameters, or None"),
    ],
)
def test_a_value_of_another_kind(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_what_may_be_none():
    assert js.Recipe("lamb", dict(max_grad_norm=None)).by_group()["bias"]["max_grad_norm"] is None
    assert js.Recipe("adafactor").by_group()["bias"]["eps"][0] is None


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("lbfgs", "one of adadelta, .*, got 'lbfgs'; js.lbfgs has no groups, and so no place in a recipe: call it"),
        ("lambs", "one of adadelta, .*, got 'lambs'; did you mean 'lamb'"),
        (("sgd",), r"one of adadelta, .*, got \('sgd',\)"),
    ],
)
def test_an_optimizer_that_a_recipe_does_not_take(optimizer, message):
    with pytest.raises(ValueError, match=f"Recipe: optimizer must be {message}"):
        js.Recipe(optimizer)


@pytest.mark.parametrize(
    ("tx", "message"),
    [
        (js.muon(), r"muon: parameter 'b' is not a real matrix: float32 with shape \(2,\); give it another optimizer"),
        (js.optimizers.musgd(use_muon=True), r"musgd: parameter 'b' is no real kernel for use_muon"),
    ],
)
def test_an_array_of_the_wrong_shape(tx, message):
    with pytest.raises(ValueError, match=message):
        tx.init({"b": jnp.ones(2)})


@pytest.mark.parametrize("bias", [jnp.ones(2), jnp.arange(2)])
def test_arrays_of_a_frozen_group_may_be_anything(bias):
    tx = js.muon(groups={"bias": None})
    params = {"kernel": jnp.eye(2), "bias": bias}
    updates, _ = tx.update(params, tx.init(params), params)
    assert updates["bias"].dtype == bias.dtype
    assert not updates["bias"].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.sgd(momentun=0.9), r"sgd: there is no argument 'momentun'; did you mean 'momentum'"),
        (lambda: js.adamw(learning_rate=0.1), r"adamw: there is no argument 'learning_rate'; did you mean 'lr'"),
        (lambda: js.adamw(b1=0.9), r"adamw: there is no argument 'b1'; did you mean 'betas'"),
        (lambda: js.rmsprop(decay=0.9), r"rmsprop: there is no argument 'decay'; did you mean 'alpha'"),
        (lambda: js.adadelta(decay=0.9), r"adadelta: there is no argument 'decay'; did you mean 'rho'"),
        (lambda: js.adam(epsilon=0.9), r"adam: there is no argument 'epsilon'; did you mean 'eps'"),
        (lambda: js.lbfgs(memory_size=5), r"lbfgs: there is no argument 'memory_size'; did you mean 'history_size'"),
        (lambda: js.sgd(groups={"bias": dict(learning_rate=1.0)}), r"groups\['bias'\]: 'learning_rate' .*mean 'lr'"),
        (lambda: js.Recipe("sgd", dict(momentun=0.9)), r"sgd: 'momentun' is not known.*did you mean 'momentum'"),
        (lambda: js.Recipe("adamw", dict(b2=0.9)), r"adamw: 'b2' is not known.*did you mean 'betas'"),
        (lambda: js.Recipe("sgd", groups={"norm": dict(nestrov=True)}), r"did you mean 'nesterov'"),
        (lambda: js.Recipe("sgd", dict(lr=-1.0)), r"sgd: lr must be >= 0, got -1.0"),
        (lambda: js.adamw(weight_decay=-1), r"^adamw: weight_decay must be >= 0, got -1$"),
        (
            lambda: js.lamb(groups={"bias": dict(max_grad_norm=1.0)}),
            r"'max_grad_norm', which is the same for all",
        ),
        (
            lambda: js.muon(0.1, 0.95),
            r"muon: too many positional arguments. It is called as muon\(lr=0.001, \*, weight",
        ),
    ],
)
def test_a_name_that_is_not_known(make, message):
    """At construction, of a recipe too; optax's words are the likeliest mistakes."""
    with pytest.raises((TypeError, ValueError), match=message):
        make()


DEFINITIONS = {name: definition for name, maker in vars(js.optimizers).items() if (definition := definition_of(maker))}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_signature_is_the_definition(name):
    """Each argument is documented, its default passes its own check, and the equation reads in a terminal."""
    definition, maker = DEFINITIONS[name], getattr(js.optimizers, name)
    assert definition.name == name
    assert list(inspect.signature(maker).parameters) == [*definition.arguments, "groups", "rules"]
    for argument, own in definition.arguments.items():
        is_zero = own.default is None and argument in ("eps_root", "initial_scale")
        assert own.check(argument, own.default) == (0.0 if is_zero else own.default)
        if own.default is not None and argument != "ns_steps":  # a number that is an option
            assert own.is_option == isinstance(own.default, bool | str), argument
    assert ":math:" not in maker.__doc__
    if name != "adamw":  # which refers to adam
        assert all(
            f"\n    {argument}: " in inspect.getdoc(maker) for argument in [*definition.arguments, "groups", "rules"]
        )
