"""Fine-tune with the body ten times slower than the head, and watch how far each group moves.

A classifier is trained on the digits 0 to 4; then a new head learns 5 to 9 on top of the same body.

Run: python examples/head_and_body.py
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxsched as js

STEPS, BATCH = 150, 50
RULES = [("head/**", "head"), (js.role("bias"), "body biases"), ("body/**", "body")]


def layer(key, inputs, outputs):
    return {"kernel": jax.random.normal(key, (inputs, outputs)) / inputs**0.5, "bias": jnp.zeros(outputs)}


def loss_of(params, images, labels):
    hidden = jax.nn.relu(images @ params["body"]["kernel"] + params["body"]["bias"])
    scores = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    loss = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
    return loss, (scores.argmax(-1) == labels).mean()


def fit(params, tx, images, labels, say=lambda *_: None):
    @jax.jit
    def train_step(params, state, images, labels):
        gradients, accuracy = jax.grad(loss_of, has_aux=True)(params, images, labels)
        updates, state = tx.update(gradients, state, params)
        norms = js.group_norms(params, updates=updates, rules=RULES)
        return optax.apply_updates(params, updates), state, accuracy, norms

    state = tx.init(params)
    random = np.random.default_rng(0)
    for step in range(STEPS):
        chosen = random.integers(len(images), size=BATCH)
        params, state, accuracy, norms = train_step(params, state, images[chosen], labels[chosen])
        if step % 30 == 0:
            say(step, accuracy, js.hyperparams(state), norms)
    return params


def show(step, accuracy, used, norms):
    groups = "   ".join(
        f"{group}: lr {float(used[group]['lr']):.1e}, moves {float(norms[group]['update_ratio']):.1e}" for group in used
    )
    print(f"step {step:3}  accuracy {float(accuracy):.2f}   {groups}")


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images, low = jnp.asarray(images / 16, jnp.float32), labels < 5
    keys = jax.random.split(jax.random.key(0), 3)
    params = {"body": layer(keys[0], 64, 64), "head": layer(keys[1], 64, 5)}
    params = fit(params, js.adamw(lr=1e-2), images[low], jnp.asarray(labels[low]))

    lr = js.warmup(js.cosine(peak=1e-2, steps=STEPS), steps=10, start=1e-3)
    tx = js.adamw(
        lr=lr,
        rules=RULES,
        groups={"body": dict(lr=0.1 * lr), "body biases": dict(lr=0.1 * lr, weight_decay=0.0)},
    )
    params = {**params, "head": layer(keys[2], 64, 5)}
    fit(params, tx, images[~low], jnp.asarray(labels[~low] - 5), show)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
