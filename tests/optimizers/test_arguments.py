"""What an optimizer refuses: the field, the value, the remedy."""

import jax.numpy as jnp
import pytest

import jaxsched as js


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: js.adagrad(lr_decay=-1.0), r"adagrad: lr_decay must be >= 0, got -1.0"),
        (lambda: js.adagrad(initial_accumulator_value=-0.1), r"initial_accumulator_value must be >= 0"),
        (lambda: js.rmsprop(alpha=-0.5), r"rmsprop: alpha must be >= 0"),
        (lambda: js.adadelta(rho=1.5), r"adadelta: rho must be in \[0, 1\], got 1.5"),
        (lambda: js.adamax(betas=(0.9, 1.0)), r"adamax: betas must be in \[0, 1\), got 1.0"),
        (lambda: js.nadam(momentum_decay=-1), r"nadam: momentum_decay must be >= 0"),
        (lambda: js.radam(eps=-1e-8), r"radam: eps must be >= 0"),
        (lambda: js.adafactor(d=0.5), r"adafactor: d must be >= 1"),
        (lambda: js.adafactor(beta2_decay=0.8), r"adafactor: beta2_decay must be <= 0"),
        (lambda: js.lamb(max_grad_norm=0.0), r"lamb: max_grad_norm must be > 0"),
        (lambda: js.muon(adjust_lr_fn="none"), r"muon: adjust_lr_fn must be one of None, 'original'"),
        (lambda: js.muon(ns_steps=100), r"muon: ns_steps must be a whole number from 0 to 99, got 100"),
        (lambda: js.muon(ns_coefficients=(1.0, 2.0)), r"muon: ns_coefficients must be three numbers"),
        (lambda: js.musgd(outputs="middle"), r"musgd: outputs must be 'first' or 'last', got 'middle'"),
        (lambda: js.rprop(etas=(1.2, 0.5)), r"rprop: etas must be"),
        (lambda: js.sgd(lr=float("nan")), r"sgd: lr must be"),
        (lambda: js.sgd(momentum=float("inf")), r"sgd: momentum must be finite"),
    ],
)
def test_a_number_out_of_its_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
        (js.muon(), r"muon: parameter 'b' is no real matrix: float32 with shape \(2,\); give it another optimizer"),
        (js.musgd(use_muon=True), r"musgd: parameter 'b' is no real kernel for use_muon"),
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
