"""Reduce the learning rate when validation stops improving, stop half-way, and resume as if nothing had happened.

Run: python examples/plateau_and_resume.py
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from sklearn.datasets import load_digits

import jaxsched as js

EPOCHS, BATCH = 16, 50
TX = js.sgd(
    lr=js.warmup(js.plateau(0.5, factor=0.3, patience=1, threshold=0.02), steps=30),
    momentum=0.9,
    groups={"bias": dict(weight_decay=0.0), "weight": dict(weight_decay=1e-4)},
)


def forward(params, images):
    hidden = jax.nn.relu(images @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return hidden @ params["head"]["kernel"] + params["head"]["bias"]


def loss_of(params, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(forward(params, images), labels).mean()


@jax.jit
def train_step(run, images, labels):
    updates, opt_state = TX.update(jax.grad(loss_of)(run["params"], images, labels), run["opt_state"], run["params"])
    return {"params": optax.apply_updates(run["params"], updates), "opt_state": opt_state}


def start():
    keys = jax.random.split(jax.random.key(0))
    params = {
        "hidden": {"kernel": jax.random.normal(keys[0], (64, 64)) / 8, "bias": jnp.zeros(64)},
        "head": {"kernel": jax.random.normal(keys[1], (64, 10)) / 8, "bias": jnp.zeros(10)},
    }
    return {"params": params, "opt_state": TX.init(params)}


def train(run, epochs, data, say=print):
    images, labels = data
    for epoch in epochs:
        order = np.random.default_rng(epoch).permutation(1200)
        for chosen in order.reshape(-1, BATCH):
            run = train_step(run, images[chosen], labels[chosen])
        held_out = loss_of(run["params"], images[1200:], labels[1200:])
        # The state of the plateau lives in the optimizer's state: reported to here, checkpointed below.
        run["opt_state"] = js.report_metric(run["opt_state"], held_out)
        plateau = js.metric_state(run["opt_state"])["weight"]["lr"]
        say(f"epoch {epoch:2}  held out {float(held_out):.4f}  lr {float(plateau.value):.4f}  bad {int(plateau.bad)}")
    return run


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    data = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)

    print("without a stop")
    whole = train(start(), range(EPOCHS), data)

    print("\nstopped after half, written, read, and resumed")
    half = train(start(), range(EPOCHS // 2), data, say=lambda _: None)
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder) / "half", half)
        checkpointer.wait_until_finished()
        half = checkpointer.restore(Path(folder) / "half", start())
    resumed = train(half, range(EPOCHS // 2, EPOCHS), data)

    same = jax.tree.map(np.array_equal, whole, resumed)
    assert all(jax.tree.leaves(same)), "the resumed run differs"
    print("\nthe two runs end with the same bits")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
