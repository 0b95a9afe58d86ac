"""Whole training runs against YOLOv5's own, iteration by iteration: train_run.npz, recorded under torch 2.13.0.

The step, the loss, the network and the recipe are those of `examples.detector.train`; only images and order are given.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxsched as js
from examples.detector.from_torch import flax_path, load_torch, torch_array
from examples.detector.loss import Gains
from examples.detector.model import YOLOv5
from examples.detector.step import initial_state, training_step
from examples.detector.weights import flat_state

from .recorded import PICO, recorded, recorded_json

BATCH, EPOCHS, BATCHES = 8, 12, 12
ITERATIONS = EPOCHS * BATCHES
GROUPS = ("bias", "weight", "norm")  # YOLOv5's order
# Where the gradient jumps: in float64, an edge of one box comes to within 4e-7 cells of its label's at iteration 83 of
# warm_linear. Boxes in float32 are off by 1e-5 there, so chance decides on which side; the runs behind the recorded
# tolerances all fell on one. What follows is therefore started anew in float32, from the float64 run's state.
REJOIN = {"warm_linear": 84}
rejoined = {}


def batches(precision):
    """The recorded images and labels in the recorded order, padded to one shape."""
    golden = recorded("train_run")
    ends = np.cumsum(golden["label_count"])
    length = int(golden["label_count"].max())
    boxes, classes = np.zeros((96, length, 4), np.float32), np.full((96, length), -1, np.int32)
    for image, (end, count) in enumerate(zip(ends, golden["label_count"], strict=True)):
        rows = golden["labels"][end - count : end]
        boxes[image, :count], classes[image, :count] = rows[:, 1:], rows[:, 0]
    for chosen in golden["order"].reshape(ITERATIONS, BATCH):
        yield {
            "image": golden["images"][chosen],
            "boxes": boxes[chosen].astype(precision),
            "classes": classes[chosen],
        }


class Tapped:
    """The recipe's transformation, with the gathered gradient's norm beside its state: clipping hides it."""

    def __init__(self, tx):
        self.tx = tx

    def init(self, params):
        return {
            "inner": self.tx.init(params),
            "sum": jax.tree.map(jnp.zeros_like, params),
            "norms": jax.tree.map(lambda p: jnp.zeros((), p.dtype), params),
            "step": jnp.zeros((), jnp.int32),
        }

    def update(self, grads, state, params):
        fresh = js.did_update(state["inner"]) | (state["step"] % BATCHES == 0)
        gathered = jax.tree.map(lambda s, g: jnp.where(fresh, 0, s) + g, state["sum"], grads)
        updates, inner = self.tx.update(grads, state["inner"], params)
        norms = jax.tree.map(jnp.linalg.norm, jax.tree.map(jnp.ravel, gathered))
        return updates, {"inner": inner, "sum": gathered, "norms": norms, "step": state["step"] + 1}


def network():
    """The network as the training uses it, without values."""
    model = nnx.eval_shape(lambda: YOLOv5(10, *PICO, rngs=nnx.Rngs(0)))
    model.set_attributes(fused=True)
    return model


@functools.cache
def program(cos_lr, precision):
    """The training step built from the recipe alone, compiled once for all starts."""
    hyp = recorded_json("train_run")["hyp_as_read"]
    recipe = js.ports.yolov5.recipe(hyp, epochs=EPOCHS, steps_per_epoch=BATCHES, batch_size=BATCH, cos_lr=cos_lr)
    tx = Tapped(recipe.build(flatten=True))
    graph = nnx.graphdef(network())
    gains = Gains.from_hyp(hyp, classes=10, image_size=64)
    return tx, jax.jit(training_step(graph, tx, gains, dtype=jnp.dtype(precision)), donate_argnums=0)


@functools.cache
def run(name, precision):
    """What happens in `name`, from the recorded start: each iteration's numbers, and arrays after some steps."""
    golden, (start, schedule) = recorded("train_run"), name.split("_")
    iterations = 20 if (start, precision) == ("scratch", "float64") else ITERATIONS  # chaos after that
    with jax.enable_x64(precision == "float64"):
        tx, step = program(schedule == "cos", precision)
        model = network()
        load_torch(model, {k.split("/", 2)[2]: golden[k] for k in golden if k.startswith(f"{start}/start/")})
        graph, state = initial_state(model, tx)
        seen, snapshots, updates = [], {}, 0
        for i, batch in enumerate(itertools.islice(batches(precision), iterations)):
            if i == REJOIN.get(name):
                if precision == "float64":
                    rejoined[name] = jax.device_get(state)
                else:
                    run(name, "float64")
                    state = in_float32(rejoined[name])
            state, metrics = step(state, batch)
            norms = nnx.to_flat_state(state.opt["norms"])
            metrics["grad_norms"] = {"/".join(map(str, path)): norm[...] for path, norm in norms}
            seen.append(jax.device_get(metrics))
            updates += int(seen[-1]["applied"])
            if seen[-1]["applied"] and updates in (1, 5, 20):
                snapshots[f"step{updates}"] = arrays(graph, state.params, state.stats)
        snapshots["final"] = arrays(graph, state.params, state.stats)
        snapshots["ema"] = arrays(graph, js.ema_params(state.opt["inner"]), state.average)
    return jax.tree.map(lambda *x: np.stack(x), *seen), snapshots


def arrays(graph, params, stats):
    return {k: np.array(v) for k, v in flat_state(nnx.merge(graph, params, stats, copy=True)).items()}


def in_float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32 if x.dtype == np.float64 else x.dtype), tree)


def in_torch(arrays, name):
    return torch_array(arrays[flax_path(name)])


WARM, SCRATCH = ("warm_cos", "warm_linear"), ("scratch_cos", "scratch_linear")
both = pytest.mark.parametrize("precision", ["float32", "float64"])


def each(names):
    """Each run; those with the linear schedule are two further compilations, which CI waits for."""
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in names if name.endswith("linear")]
    return pytest.mark.parametrize("name", [name for name in names if name.endswith("cos")] + slow)


def part(name, precision):
    return f"{name}/float64" if precision == "float64" else name


def relative(got, want):
    return np.abs(got - want) / np.abs(want)


def test_a_step_gives_the_types_that_it_takes():
    """Else it would be compiled a second time at the second step."""
    hyp = recorded_json("train_run")["hyp_as_read"]
    recipe = js.ports.yolov5.recipe(hyp, epochs=EPOCHS, steps_per_epoch=BATCHES, batch_size=BATCH)
    tx = recipe.build(flatten=True)
    model = network()
    golden = recorded("train_run")
    load_torch(model, {k.split("/", 2)[2]: golden[k] for k in golden if k.startswith("scratch/start/")})
    graph, state = initial_state(model, tx)
    after, _ = jax.eval_shape(training_step(graph, tx, Gains()), state, next(batches("float32")))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):
        assert (new.shape, new.dtype, new.weak_type) == (old.shape, old.dtype, old.weak_type)


@both
@each(WARM)
def test_the_loss_follows_yolov5_over_all_iterations(name, precision):
    golden, (seen, _), of = recorded("train_run"), run(name, precision), part(name, precision)
    rtol = golden[f"{of}/loss_rtol"]
    assert (relative(seen["loss"], golden[f"{of}/loss"]) <= rtol).all()
    # The tolerance is for the sum of the parts, so it is taken of that.
    room = rtol * golden[f"{of}/loss"] / BATCH
    assert (np.abs(seen["parts"] - golden[f"{of}/parts"]) <= room[:, None]).all()


@both
@each(SCRATCH)
def test_the_loss_from_scratch_follows_until_rounding_decides(name, precision):
    golden, (seen, _), of = recorded("train_run"), run(name, precision), part(name, precision)
    informative = 20 if precision == "float64" else 8
    error = relative(seen["loss"][:informative], golden[f"{of}/loss"][:informative])
    assert (error <= golden[f"{of}/loss_rtol"][:informative]).all()


@each(SCRATCH)
def test_the_loss_from_scratch_falls_as_yolov5s(name):
    golden, (seen, _) = recorded("train_run"), run(name, "float32")
    ours, theirs = (loss.reshape(EPOCHS, BATCHES).mean(1) for loss in (seen["loss"], golden[f"{name}/loss"]))
    assert relative(ours, theirs).max() < 0.03
    assert ours[-3:].max() < ours[:3].min()


@each(WARM + SCRATCH)
def test_the_schedule_is_yolov5s(name):
    golden, (seen, _) = recorded("train_run"), run(name, "float32")
    applied = seen["applied"]
    np.testing.assert_array_equal(applied, golden[f"{name}/stepped"])
    for k, group in enumerate(GROUPS):
        for hyper in ("lr", "momentum"):
            want = golden[f"{name}/{hyper}"][:, k]
            np.testing.assert_allclose(seen["hyper"][group][hyper][applied], want[applied], rtol=1e-6)


@both
@each(WARM + SCRATCH)
def test_gradient_norms_before_clipping_are_yolov5s(name, precision):
    golden, facts = recorded("train_run"), recorded_json("train_run")
    (seen, _), of = run(name, precision), part(name, precision)
    at = golden[f"{name}/step_iteration"]
    informative = (golden[f"{of}/step_grad_norm_rtol"] < 0.5) & (at < len(seen["loss"]))  # 0.5: rounding decides
    at = at[informative]
    rtol, whole, each = (golden[f"{of}/{k}"][informative] for k in
                         ("step_grad_norm_rtol", "step_grad_norm", "step_param_grad_norm"))  # fmt: skip
    assert len(at) >= (5 if name in SCRATCH else 30)
    got = np.stack([seen["grad_norms"][flax_path(p)][at] for p in facts["param_names"]], 1)
    assert (relative(np.linalg.norm(got, axis=1), whole) <= rtol).all()
    # The tolerance is for the whole norm, so it is taken of that.
    assert (np.abs(got - each) <= (rtol * whole)[:, None]).all()


def test_the_first_gathered_gradient_sees_no_clipping_in_the_warm_run():
    golden = recorded("train_run")
    (seen, _) = run("warm_cos", "float32")
    assert seen["applied"][0]
    for key in (k for k in golden if k.startswith("warm_cos/first_grad/")):
        name = key.split("/", 2)[2]
        want = np.linalg.norm(golden[key])
        assert want <= seen["grad_norms"][flax_path(name)][0] * (1 + 1e-4)  # large tensors are stored in part


@each(WARM + SCRATCH)
def test_parameters_and_statistics_are_yolov5s(name):
    golden, (_, snapshots) = recorded("train_run"), run(name, "float32")
    tolerance = recorded_json("train_run")["runs"][name]["tolerance"]
    compared = 0
    for when, arrays_then in snapshots.items():
        atol = tolerance["float32_state_atol"][when]
        if atol is None:
            continue
        prefix = f"{name}/{when}/"
        for key in (k for k in golden if k.startswith(prefix)):
            torch_name = key[len(prefix) :]
            want = golden[key]
            got = in_torch(arrays_then, torch_name)[: len(want)]
            rtol = 2.5e-4 if prefix == "warm_linear/final/" else 0  # stored rounded
            if when in ("final", "ema") and "running" in torch_name:
                kind = "mean_atol" if torch_name.endswith("mean") else "var_rtol"
                allowed = tolerance[f"float32_final_running_{kind}"] * (1 if kind == "mean_atol" else np.abs(want))
                assert (np.abs(got - want) <= allowed + rtol * np.abs(want)).all(), key
            else:
                scale = np.maximum(np.abs(want), 1) if torch_name.endswith("running_var") else 1
                assert (np.abs(got - want) <= atol * scale + rtol * np.abs(want)).all(), key
            compared += 1
    stored = {"warm_cos": 5, "warm_linear": 2, "scratch_cos": 2, "scratch_linear": 0}[name]
    assert compared == stored * 291


@each(WARM + SCRATCH)
def test_norms_of_every_array_are_yolov5s_in_float64(name):
    golden, facts, (_, snapshots) = recorded("train_run"), recorded_json("train_run"), run(name, "float64")
    tolerance = facts["runs"][name]["tolerance"]["float64_state_relative_l2"]
    for when, arrays_then in snapshots.items():
        rtol = tolerance[when]
        if rtol is not None:
            got = [np.linalg.norm(arrays_then[flax_path(n)]) for n in facts["norm_names"]]
            np.testing.assert_allclose(got, golden[f"{name}/float64/{when}_norm"], rtol=rtol, err_msg=when)
