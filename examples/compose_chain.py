"""Compose an optax chain: clipping, SGD with groups and warm-up, on scikit-learn's handwritten digits.

Run: python examples/compose_chain.py
"""

import argparse

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import jaxsched as js

EPOCHS, BATCH = 8, 64


class Classifier(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(64, 128, rngs=rngs)
        self.norm = nnx.BatchNorm(128, rngs=rngs)
        self.head = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images):
        return self.head(nnx.relu(self.norm(self.hidden(images))))


def loss_of(model, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model, optimizer, images, labels):
    loss, gradients = nnx.value_and_grad(loss_of)(model, images, labels)
    optimizer.update(model, gradients)
    return loss


def main() -> float:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    train, test = slice(0, 1500), slice(1500, None)
    steps_per_epoch = 1500 // BATCH

    lr = js.warmup(js.cosine(peak=0.1, steps=EPOCHS * steps_per_epoch), steps=steps_per_epoch)
    tx = optax.chain(
        js.clip_norm(1.0),
        js.sgd(
            lr=lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            groups={"bias": dict(lr=2 * lr, weight_decay=0.0), "norm": dict(weight_decay=0.0)},
        ),
    )
    model = Classifier(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    random = np.random.default_rng(0)
    for epoch in range(EPOCHS):
        for chosen in random.permutation(1500)[: steps_per_epoch * BATCH].reshape(-1, BATCH):
            loss = train_step(model, optimizer, jnp.asarray(images[train][chosen]), jnp.asarray(labels[train][chosen]))
        used = js.hyperparams(optimizer)
        rates = "  ".join(f"{group} {float(values['lr']):.4f}" for group, values in used.items())
        print(f"epoch {epoch + 1}  loss {float(loss):.3f}  lr: {rates}")
    model.eval()
    accuracy = float((model(jnp.asarray(images[test])).argmax(-1) == labels[test]).mean())
    print(f"accuracy on unseen digits: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
