"""The core where only jax, optax and numpy are installed: run by CI at their lower bounds, not by pytest."""

import importlib.util
import math
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsched as js

for absent in ("flax", "yaml", "matplotlib", "torch", "rich", "typer"):
    assert importlib.util.find_spec(absent) is None, f"{absent} is installed: this checks nothing"

hyp = dict(
    lr0=0.01, lrf=0.01, momentum=0.937, weight_decay="5e-4", warmup_epochs=3, warmup_momentum=0.8, warmup_bias_lr=0.1
)
recipe = js.ports.yolov5.recipe(hyp, epochs=3, steps_per_epoch=50, batch_size=16)
start = {"conv": {"kernel": jnp.ones((3, 3))}, "bn": {"scale": jnp.ones(3), "bias": jnp.zeros(3)}}


def trained(flatten):
    """The parameters, what was used at each step, and the average."""
    tx = recipe.build(flatten=flatten)

    @jax.jit
    def train(params, state):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        return optax.apply_updates(params, updates), state, (js.hyperparams(state)["bias"]["lr"], js.did_update(state))

    params, state, seen = start, tx.init(start), []
    for _ in range(recipe.steps):
        params, state, used = train(params, state)
        seen.append(used)
    return params, [np.asarray(column) for column in zip(*seen, strict=True)], js.ema_params(state)


params, (lr, applied), average = trained(flatten=False)
steps = np.flatnonzero(js.report.update_steps(recipe))
np.testing.assert_array_equal(np.flatnonzero(applied), steps)
np.testing.assert_allclose(lr[steps], js.curves(recipe)["bias"]["lr"][steps], rtol=1e-6)
assert all(math.isfinite(leaf.sum()) for leaf in jax.tree.leaves(average))
flattened = trained(flatten=True)
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), flattened, (params, [lr, applied], average))

message = ""
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "hyp.yaml")
    path.write_text("".join(f"{name}: {value}\n" for name, value in hyp.items()), encoding="utf-8")
    try:
        js.ports.yolov5.recipe(path, epochs=3, steps_per_epoch=50, batch_size=16)
    except ImportError as error:
        message = str(error)
assert "jaxsched[yaml]" in message, f"a hyp.yaml without PyYAML: {message!r}"
print(
    f"jaxsched {js.__version__} alone with jax {jax.__version__}, optax {optax.__version__}, numpy {np.__version__}: ok"
)
