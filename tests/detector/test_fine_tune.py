"""Starting from weights: what is taken over, at what rate the body learns, what is frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsched as js
from examples.detector.fine_tune import frozen, head_and_body, start_from
from examples.detector.options import HYP
from examples.detector.weights import Description, Weights, flat_state

pytestmark = pytest.mark.usefixtures("compile_quickly")


def arrays(model):
    return {path: np.asarray(value) for path, value in flat_state(model).items()}


@pytest.fixture(scope="module")
def pico():
    description = Description(tuple("0123456789"), 0.33, 0.125, 64)
    return Weights(description, arrays(description.build(nnx.Rngs(0))))


def test_weights_are_taken_over_and_a_head_of_other_classes_is_not(pico):
    model = pico.description.build(nnx.Rngs(5))
    assert start_from(model, pico) == []
    assert all(np.array_equal(value, pico.arrays[path]) for path, value in arrays(model).items())

    other = Description(("a", "b", "c"), 0.33, 0.125, 64).build(nnx.Rngs(5))
    head = np.asarray(other.head.levels[0].kernel[...])
    assert start_from(other, pico) == ["--weights: of 10 classes, the data has 3, so the head starts from scratch"]
    np.testing.assert_array_equal(other.head.levels[0].kernel[...], head)
    np.testing.assert_array_equal(other.backbone[0].conv.kernel[...], pico.arrays["backbone/0/conv/kernel"])


def test_weights_of_another_size_are_refused(pico):
    deeper = Description(pico.description.names, 1.0, 0.125, 64).abstract()
    short = {path: np.zeros(x.shape) for path, x in flat_state(deeper).items()}
    with pytest.raises(ValueError, match=r"these weights are of another network: \d+ arrays .* Choose the --size"):
        start_from(pico.model(), Weights(pico.description, short))


def test_the_body_learns_slower_and_what_is_frozen_stays():
    recipe = js.ports.yolov5.recipe(HYP, epochs=2, steps_per_epoch=200, batch_size=64)
    tuned = frozen(head_and_body(recipe, 0.1), ("backbone/**",))
    params = {
        part: {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}} for part in ("backbone", "neck", "head")
    }
    params["neck"]["bn"] = {"scale": jnp.ones(2), "bias": jnp.ones(2)}
    tx = tuned.build(flatten=True)
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(3):
        updates, state = update(jax.tree.map(jnp.ones_like, params), state, params)
    assert not np.any(updates["backbone"]["conv"]["kernel"])
    used = js.hyperparams(state)
    assert "frozen" not in used
    for group in ("weight", "bias"):
        np.testing.assert_allclose(used[f"body_{group}"]["lr"], 0.1 * used[group]["lr"], rtol=1e-6)
        assert used[f"body_{group}"]["weight_decay"] == used[group]["weight_decay"]
    np.testing.assert_allclose(
        updates["neck"]["conv"]["bias"], 0.1 * np.asarray(updates["head"]["conv"]["bias"]), rtol=1e-5
    )
    labels = js.groups.labels(params, tuned.rules)
    assert labels["neck"]["bn"] == {"scale": "body_norm", "bias": "body_bias"}
