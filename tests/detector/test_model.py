"""The network against YOLOv5's own numbers: forward.npz, recorded under torch 2.13.0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsched as js
from examples.detector import from_torch
from examples.detector.model import SIZES, YOLOv5, decode, parameter_count
from examples.detector.weights import flat_state, load_arrays

from .recorded import PICO, recorded

pytestmark = pytest.mark.usefixtures("compile_quickly")


def pico(precision):
    with jax.enable_x64(precision == "float64"):
        model = nnx.eval_shape(lambda: YOLOv5(10, *PICO, rngs=nnx.Rngs(0)))
        golden = recorded("forward")
        from_torch.load_torch(model, {k[6:]: golden[k] for k in golden if k.startswith("state/")})
    return model


def close(got, want, atol, rtol):
    np.testing.assert_allclose(np.asarray(got), want, atol=atol, rtol=rtol)


# Tolerances of golden/yolov5: ten times torch's own float32 error; in float64, rounding alone.
@pytest.mark.parametrize(("shape", "precision"), [("square", "float32"), ("square", "float64"), ("rect", "float64")])
def test_forward_agrees_with_yolov5(shape, precision):
    golden = recorded("forward")
    double = precision == "float64"
    part = "float64/" if double else ""
    raw_tolerance = (1e-9, 1e-9) if double else (2e-3, 1e-4)
    with jax.enable_x64(double):
        model = pico(precision)
        image = jnp.asarray(golden[f"{shape}/image"].transpose(0, 2, 3, 1), precision)
        graph, state = nnx.split(model)

        @nnx.jit(static_argnames="train")
        def forward(state, image, train):
            model = nnx.merge(graph, state, copy=True)
            raw = model(image, train)
            return raw, decode(raw, model.anchors), nnx.state(model)

        raw, decoded, _ = forward(state, image, train=False)
        for level in range(3):
            close(raw[level], golden[f"{shape}/eval/{part}raw{level}"], *raw_tolerance)
        want = golden[f"{shape}/eval/{part}decoded"]
        close(decoded[..., :4], want[..., :4], *((1e-9, 1e-9) if double else (0.02, 1e-3)))
        close(decoded[..., 4:], want[..., 4:], 1e-9 if double else 1e-3, 0)

        raw, _, after = forward(state, image, train=True)
        for level in range(3):
            close(raw[level], golden[f"{shape}/train/{part}raw{level}"], *raw_tolerance)
        nnx.update(model, after)
        arrays = flat_state(model)
        prefix = f"{shape}/train/{part}after/"
        names = [k[len(prefix) :] for k in golden if k.startswith(prefix) and not k.endswith("tracked")]
        assert len(names) == 2 * 57
        for name in names:
            got, want = arrays[from_torch.flax_path(name)], golden[prefix + name]
            if double:
                close(got, want, 1e-9, 1e-9)
            elif name.endswith("running_var"):
                close(got, want, 0, 1e-4)
            else:
                close(got, want, 1e-5, 0)


def shapes_of(classes, size):
    return nnx.eval_shape(lambda: YOLOv5(classes, *SIZES[size], rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("classes", "size", "count"),
    [
        (10, "n", 1_777_447),
        (80, "n", 1_872_157),
        (80, "s", 7_235_389),
        (80, "m", 21_190_557),
        (80, "l", 46_563_709),
        (80, "x", 86_749_405),
    ],
)
def test_sizes_have_yolov5s_parameters(classes, size, count):
    assert parameter_count(shapes_of(classes, size)) == count


def test_the_groups_hold_as_many_tensors_as_yolov5s():
    params = nnx.state(shapes_of(10, "n"), nnx.Param)
    recipe = js.ports.yolov5.recipe(HYP, epochs=1, steps_per_epoch=1, batch_size=16)
    labels = jax.tree.leaves(js.groups.labels(params, recipe.rules))
    assert {name: labels.count(name) for name in set(labels)} == {"weight": 60, "norm": 57, "bias": 60}


def test_a_start_is_drawn_as_torch_draws_it():
    model = YOLOv5(10, *SIZES["n"], rngs=nnx.Rngs(0))
    stem = np.asarray(model.backbone[0].conv.kernel[...])
    bound = 1 / np.sqrt(3 * 6 * 6)
    assert abs(stem).max() <= bound
    assert abs(stem).max() > 0.99 * bound
    assert abs(stem.std() - bound / np.sqrt(3)) < 0.03 * bound
    # The means of what YOLOv5's Detect layer adds to each level's biases, up to torch's own draw (at most 1/8).
    for level, objectness in zip(model.head.levels, (-6.68, -5.30, -3.91), strict=True):
        bias = np.asarray(level.bias[...]).reshape(3, 15)
        assert abs(bias[:, 4] - objectness).max() < 0.13
        assert abs(bias[:, 5:] + 2.71).max() < 0.13
    assert float(model.backbone[0].bn.var[...][0]) == np.float32(0.9)


def test_groups_are_yolov5s():
    recipe = js.ports.yolov5.recipe(HYP, epochs=1, steps_per_epoch=1, batch_size=16)
    used = jax.eval_shape(lambda p: js.hyperparams(recipe.build().init(p)), nnx.state(shapes_of(10, "n"), nnx.Param))
    assert set(used) == {"bias", "norm", "weight"}


HYP = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay=5e-4, warmup_epochs=3.0, warmup_momentum=0.8, warmup_bias_lr=0.1
)  # fmt: skip


def test_torch_arrays_survive_the_round_trip():
    array = np.random.default_rng(0).normal(size=(4, 3, 6, 6))
    np.testing.assert_array_equal(from_torch.torch_array(from_torch.flax_array(array)), array)


def test_weights_of_another_network_are_refused():
    model = YOLOv5(10, *PICO, rngs=nnx.Rngs(0))
    arrays = {k: np.asarray(v) for k, v in flat_state(model).items()}
    with pytest.raises(ValueError, match=r"1 arrays are missing.*head/levels/0/bias"):
        load_arrays(model, {k: v for k, v in arrays.items() if k != "head/levels/0/bias"})
    with pytest.raises(ValueError, match=r"backbone/0/conv/kernel has shape \(1,\)"):
        load_arrays(model, arrays | {"backbone/0/conv/kernel": np.zeros(1)})
    with pytest.raises(ValueError, match=r"'model.4.weird' is not in a YOLOv5"):
        from_torch.flax_path("model.4.weird")
