"""The optimizer step compared with other libraries in one process: time to trace, compile and run, size of the state.

For a tree like YOLOv5s (180 arrays, 7.8 million numbers, three groups) and one with a group for each layer (200
groups), ``ours``, with scheduled groups, is compared with

    flat       ours in js.flatten_groups: one vector for each group
    bare       a minimal hand-written jitted update with the same schedules
    partition  optax.partition, with optax.inject_hyperparams for each group
    optax.sgd  without groups or weight decay
    grouped    js.optimizers.grouped(optax.adamw), with a partition of three optax.adamw and js.adamw
    torch      its foreach implementation, eager, if torch is installed (and the fused one on a GPU)

On a GPU it also prints the share of the memory bandwidth that is used, for 100 million numbers.

    python benchmarks/optimizer_step.py [--rounds 7] [--bandwidth GB/s] [--only grouped]
"""

from __future__ import annotations

import argparse
import re
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxsched as js

MOMENTUM, DECAY, STEPS = 0.937, 5e-4, 10_000


def yolov5s():
    """Convolutions with batch norms, and a head: as many arrays and numbers as YOLOv5s has."""
    widths = [32, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256, 256, 256, 192, 256, 256, 256, 128, 128]
    tree = {}
    for i in range(58):
        width = widths[i % len(widths)]
        size = 3 if i % 3 == 1 else 1
        inputs = widths[(i - 1) % len(widths)] if i else 3
        tree[f"layer{i}"] = {
            "conv": {"kernel": (size, size, inputs, width)},
            "bn": {"scale": (width,), "bias": (width,)},
        }
    for i, width in enumerate((128, 256, 512)):
        tree[f"head{i}"] = {"kernel": (1, 1, width, 255), "bias": (255,)}
    return filled(tree)


def layers(n=100):
    return filled({f"layer{i}": {"kernel": (128, 128), "bias": (128,)} for i in range(n)})


def large(n=24):
    return filled({f"layer{i}": {"kernel": (2048, 2048), "bias": (2048,)} for i in range(n)})


def filled(shapes):
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda shape: jnp.asarray(random.normal(size=shape, scale=0.05), jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def rate(scale=1.0):
    return scale * js.warmup(js.cosine(0.1, steps=STEPS), steps=1000)


def of_three(params):
    """Learning rates and weight decays of YOLOv5's groups, and no rules."""
    names = dict.fromkeys(jax.tree.leaves(js.groups.labels(params)))
    rates = {name: rate(2.0 if name == "bias" else 1.0) for name in names}
    return rates, {name: DECAY if name == "weight" else 0.0 for name in names}, None


def three_groups(params):
    """Ours and its peers for YOLOv5's groups; a peer is (init, update)."""
    rates, decays, _ = of_three(params)
    groups = {name: dict(lr=rates[name], weight_decay=decays[name]) for name in rates}
    ours = js.sgd(momentum=MOMENTUM, nesterov=True, groups=groups)
    return {"ours": ours, "flat": js.flatten_groups(ours), **peers(params, rates, decays, js.groups.labels(params))}


def of_many(params):
    """A group for each layer's weights and one for its biases, each with a learning rate of its own, and the rules."""
    rules, rates, decays = [], {}, {}
    for i in range(len(params)):
        for leaf, decay in (("bias", 0.0), ("kernel", DECAY)):
            name = f"{i} {leaf}"
            rules.append((f"layer{i}/{leaf}", name))
            rates[name], decays[name] = rate(0.95 ** (len(params) - i)), decay
    return rates, decays, rules


def many_groups(params):
    rates, decays, rules = of_many(params)
    groups = {name: dict(lr=rates[name], weight_decay=decays[name]) for name in rates}
    ours = js.sgd(momentum=MOMENTUM, nesterov=True, rules=rules, groups=groups)
    return {
        "ours": ours,
        "flat": js.flatten_groups(ours, rules),
        **peers(params, rates, decays, js.groups.labels(params, rules)),
    }


def peers(params, rates, decays, labels):
    of_leaf = jax.tree.leaves(labels)

    def init(params):
        return jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params)

    def update(gradients, state, params):
        count, buffers = state
        lr = {name: schedule(count) for name, schedule in rates.items()}
        leaves, structure = jax.tree.flatten(params)
        updates, new = [], []
        trees = (jax.tree.leaves(gradients), jax.tree.leaves(buffers), leaves, of_leaf)
        for gradient, buffer, param, group in zip(*trees, strict=True):
            if decays[group]:
                gradient = gradient + decays[group] * param
            buffer = MOMENTUM * buffer + gradient
            updates.append(-lr[group] * (gradient + MOMENTUM * buffer))
            new.append(buffer)
        return structure.unflatten(updates), (count + 1, structure.unflatten(new))

    def one(lr, weight_decay):
        sgd = optax.sgd(lr, MOMENTUM, nesterov=True)
        return optax.chain(optax.add_decayed_weights(weight_decay), sgd)

    parts = {
        name: optax.inject_hyperparams(one)(lr=rates[name], weight_decay=optax.constant_schedule(decays[name]))
        for name in rates
    }
    return {
        "bare": optax.GradientTransformation(init, update),
        "partition": optax.partition(parts, labels),
        "optax.sgd": optax.sgd(rate(), MOMENTUM, nesterov=True),
    }


def grouped_adamw(params, of):
    """Groups around optax's AdamW: by us, and by a partition with one injected optimizer a group."""
    rates, decays, rules = of(params)
    theirs = {name: dict(learning_rate=rates[name], weight_decay=decays[name]) for name in rates}
    ours = {name: dict(lr=rates[name], weight_decay=decays[name]) for name in rates}
    parts = {
        name: optax.inject_hyperparams(optax.adamw)(rates[name], weight_decay=optax.constant_schedule(decays[name]))
        for name in rates
    }
    return {
        "grouped": js.optimizers.grouped(optax.adamw, learning_rate=0.1, groups=theirs, rules=rules),
        "partition": optax.partition(parts, js.groups.labels(params, rules)),
        "js.adamw": js.adamw(groups=ours, rules=rules),
    }


def lowered(tx, params):
    state = jax.eval_shape(tx.init, params)  # which also finds the groups: once, not at each trace

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    start = time.process_time()  # of the CPU, which other programs disturb less
    found = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params)
    return found, time.process_time() - start


def measure(transformations, params, rounds, base="bare"):
    """Each round measures all in turn, so that other load affects all alike; medians of the rounds.

    Steps are compared with those of ``base``.
    """
    names = list(transformations)
    traced = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            traced[name].append(lowered(transformations[name], params)[1])
    rows, live = {}, {}
    for name in names:
        program, _ = lowered(transformations[name], params)
        start = time.perf_counter()
        compiled = program.compile()
        compiling = time.perf_counter() - start
        state = transformations[name].init(params)
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        rows[name] = dict(trace=min(traced[name]) * 1e3, compile=compiling, state=size / 1e6, **kernels(compiled))
        rows[name]["arrays"] = len(jax.tree.leaves(state))
        live[name] = [compiled, jax.tree.map(jnp.array, params), state]
    gradients = jax.tree.map(lambda p: 1e-3 * p, params)
    times = {name: [] for name in names}
    for i in range(rounds * 6):
        for name in names if i % 2 else reversed(names):
            compiled, p, state = live[name]
            jax.block_until_ready((p, state))
            start = time.perf_counter()
            for _ in range(3):
                p, state = compiled(p, state, gradients)
            jax.block_until_ready((p, state))
            times[name].append((time.perf_counter() - start) / 3)
            live[name][1:] = p, state
    for name in names:
        rows[name]["step"] = statistics.median(times[name]) * 1e3
        ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
        rows[name]["ratio"] = statistics.median(ratios)
    return rows


def kernels(compiled):
    """What the program launches: on arrays, and on the few numbers of the schedules and their report."""
    entry = compiled.as_text().split("ENTRY", 1)[1]
    shapes = re.findall(r"= \(?\w+\[([\d,]*)\].*? (?:fusion|custom-call|copy)\(", entry)
    small = sum(int(np.prod([int(n) for n in shape.split(",") if n])) <= 256 and "," not in shape for shape in shapes)
    return dict(kernels=len(shapes) - small, small=small)


def torch_step(params, rounds):
    """Milliseconds of torch's step with the same three groups, by implementation."""
    try:
        import torch
    except ImportError:
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {}
    for kind in ("foreach", "fused"):
        by_group = {}
        for label, leaf in zip(jax.tree.leaves(js.groups.labels(params)), jax.tree.leaves(params), strict=True):
            tensor = torch.tensor(np.asarray(leaf), device=device, requires_grad=True)
            tensor.grad = 1e-3 * tensor.detach()
            by_group.setdefault(label, []).append(tensor)
        groups = [{"params": p, "weight_decay": DECAY * (label == "weight")} for label, p in by_group.items()]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=MOMENTUM, nesterov=True, **{kind: True})
        times = []
        for _ in range(rounds * 6):
            start = time.perf_counter()
            for _ in range(3):
                optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / 3)
        found[f"torch {kind} ({device})"] = statistics.median(times) * 1e3
    return found


def show(title, rows, base="bare"):
    print(f"\n{title}")
    print(
        f"{'':12}{'trace + lower':>15}{'compile':>10}{'step':>11}{'of ' + base:>14}{'kernels':>9}{'small':>7}"
        f"{'state':>11}{'arrays':>8}"
    )
    for name, row in rows.items():
        print(
            f"{name:12}{row['trace']:12.1f} ms{row['compile']:8.2f} s{row['step']:8.3f} ms{row['ratio']:14.3f}"
            f"{row['kernels']:9d}{row['small']:7d}{row['state']:8.2f} MB{row['arrays']:8d}"
        )


def main(rounds: int = 7, bandwidth: float = 0.0, only: str = "") -> dict[str, dict]:
    results = {}
    for title, make, of in (("3 groups", yolov5s, of_three), ("200 groups", layers, of_many)):
        params, name = make(), f"AdamW of optax, {title}"
        results[name] = measure(grouped_adamw(params, of), params, rounds, "partition")
        show(f"{name}: {len(jax.tree.leaves(params))} arrays", results[name], "partition")
    if only == "grouped":
        return results
    for title, make, compare in (("YOLOv5s", yolov5s, three_groups), ("200 groups", layers, many_groups)):
        params = make()
        leaves = jax.tree.leaves(params)
        size = sum(leaf.size for leaf in leaves)
        results[title] = measure(compare(params), params, rounds)
        show(
            f"{title}: {len(leaves)} arrays, {size / 1e6:.1f} million numbers, on {jax.devices()[0].device_kind}",
            results[title],
        )
        if title == "YOLOv5s":
            for name, milliseconds in torch_step(params, rounds).items():
                print(f"{name:38}{milliseconds:8.3f} ms")
    if jax.default_backend() != "cpu":
        params = large()
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        rows = measure(three_groups(params), params, rounds)
        show(f"large: {size / 1e6:.0f} million numbers", rows)
        moved = 5 * 4 * size  # read gradient, buffer, parameter; write buffer, parameter
        speed = moved / rows["ours"]["step"] / 1e6
        print(f"ours moves {speed:.0f} GB/s" + (f", {speed / bandwidth:.0%} of {bandwidth:.0f}" if bandwidth else ""))
        results["large"] = rows
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured")
    parser.add_argument("--bandwidth", type=float, default=0.0, help="the device's memory bandwidth, in GB/s")
    parser.add_argument("--only", choices=["grouped"], default="", help="measure optimizers of optax in groups alone")
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.bandwidth, arguments.only)
