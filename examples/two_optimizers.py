"""Different optimizers for different groups: Muon for the matrices, AdamW for the rest, clipped together.

``optax.partition`` hands each optimizer its own parameters, by the labels of jaxsched's rules. What is chained before
it sees all gradients: the norm that is clipped stays that of the whole.

Run: python examples/two_optimizers.py
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxsched as js

EPOCHS, BATCH = 10, 100
RULES = [("hidden*/kernel", "matrices"), ("**", "others")]


def start(random):
    def layer(inputs, outputs):
        return {
            "kernel": jnp.asarray(random.normal(size=(inputs, outputs), scale=inputs**-0.5), jnp.float32),
            "bias": jnp.zeros(outputs),
        }

    return {"stem": layer(64, 96), "hidden0": layer(96, 96), "hidden1": layer(96, 96), "head": layer(96, 10)}


def loss_of(params, images, labels):
    x = images
    for name in ("stem", "hidden0", "hidden1"):
        x = jax.nn.relu(x @ params[name]["kernel"] + params[name]["bias"])
    x = x @ params["head"]["kernel"] + params["head"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(x, labels).mean(), x


def optimizer(steps):
    shape = js.warmup(js.cosine(1.0, steps=steps), steps=steps // 10)
    parts = {
        # outputs are the last axis of these kernels; each optimizer has one group, named as its part
        "matrices": js.muon(lr=0.02 * shape, outputs="last", ns_dtype="float32", rules=[("**", "matrices")]),
        "others": js.adamw(lr=3e-3 * shape, weight_decay=1e-2, rules=[("**", "others")]),
    }
    return optax.chain(js.clip_norm(1.0), optax.partition(parts, lambda params: js.groups.labels(params, RULES)))


def main() -> float:
    images, labels = load_digits(return_X_y=True)
    images = jnp.asarray(images / 16, jnp.float32)
    labels = jnp.asarray(labels)
    random = np.random.default_rng(0)
    params = start(random)
    tx = optimizer(EPOCHS * 15)

    @jax.jit
    def train_step(params, state, images, labels):
        (loss, _), gradients = jax.value_and_grad(loss_of, has_aux=True)(params, images, labels)
        updates, state = tx.update(gradients, state, params)
        log = js.flatten_dict(js.hyperparams(state), js.group_norms(params, gradients, updates, RULES), {"loss": loss})
        return optax.apply_updates(params, updates), state, log

    state = tx.init(params)
    for epoch in range(EPOCHS):
        for chosen in random.permutation(1500).reshape(-1, BATCH):
            params, state, log = train_step(params, state, images[chosen], labels[chosen])
        shown = ("matrices/lr", "others/lr", "matrices/update_ratio", "others/update_ratio")
        print(
            f"epoch {epoch + 1}  loss {float(log['loss']):.3f}  " + "  ".join(f"{k} {float(log[k]):.4f}" for k in shown)
        )
    accuracy = float((loss_of(params, images[1500:], labels[1500:])[1].argmax(-1) == labels[1500:]).mean())
    print(f"accuracy on unseen digits: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
