"""The solver of RT-DETRv2 and D-FINE around torch's own optimizer, schedulers and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import rtdetr

torch = pytest.importorskip("torch")
PATTERNS = [{"params": "^(?=.*backbone)(?!.*norm).*$", "lr": 2e-2}, {"params": "norm", "weight_decay": 0.0}]
PATHS = ("backbone/conv/kernel", "encoder/norm/scale", "decoder/bias")
NB, EPOCHS = 3, 6


def gradient(step, i):
    return np.sin(1.7 * step + np.arange(3) + i)


def trained(scheduler, warm):
    """The parameters, their average and the lr of each group after each batch of torch's run."""
    parameters = [torch.nn.Parameter(torch.ones(3, dtype=torch.float64) * (i + 1)) for i in range(3)]
    groups = [{"params": [parameters[0]], "lr": 2e-2}, {"params": [parameters[1]], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([*groups, {"params": [parameters[2]]}], lr=1e-1, betas=(0.9, 0.99), weight_decay=1e-2)
    name, arguments = scheduler
    stepped = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    peaks, rates = [group["lr"] for group in optimizer.param_groups], []
    averages = [parameter.detach().clone() for parameter in parameters]

    def warmed(batch):
        if batch < warm:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = min(1.0, (batch + 1) / warm) * peak

    warmed(0)
    for step in range(NB * EPOCHS):
        rates.append([group["lr"] for group in optimizer.param_groups])
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.tensor(gradient(step, i))
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        decay = 0.9 * (1 - np.exp(-(step + 1) / 5))
        averages = [decay * old + (1 - decay) * new.detach() for old, new in zip(averages, parameters, strict=True)]
        warmed(step + 1)
        if (step + 1) % NB == 0 and step + 1 >= warm:
            stepped.step()
    return np.array([p.detach().numpy() for p in parameters]), np.array([a.numpy() for a in averages]), np.array(rates)


@pytest.mark.parametrize("warm", [3, 7])
@pytest.mark.parametrize(
    "scheduler",
    [("MultiStepLR", {"milestones": [2, 3], "gamma": 0.1}), ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01})],
)
def test_a_run_of_the_solver(scheduler, warm):
    expected, averages, rates = trained(scheduler, warm)
    name, arguments = scheduler
    recipe = rtdetr.recipe(
        {
            "epoches": EPOCHS,
            "clip_max_norm": 0.5,
            "use_ema": True,
            "ema": {"type": "ModelEMA", "decay": 0.9, "warmups": 5},
            "optimizer": {"type": "AdamW", "params": PATTERNS, "lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.01},
            "lr_scheduler": {"type": name, **arguments},
            "lr_warmup_scheduler": {"type": "LinearWarmup", "warmup_duration": warm},
        },
        steps_per_epoch=NB,
    )
    curves = js.curves(recipe)
    for i, group in enumerate(("group_0", "group_1", "rest")):
        np.testing.assert_allclose(curves[group]["lr"], rates[:, i], rtol=1e-6)
    if (name, warm) != ("MultiStepLR", 7):
        return  # one compilation: what differs is the lr
    params = {path: jnp.full(3, i + 1.0) for i, path in enumerate(PATHS)}
    tx = recipe.build()
    state, update = tx.init(params), jax.jit(tx.update)
    for step in range(NB * EPOCHS):
        gradients = {path: jnp.asarray(gradient(step, i), jnp.float32) for i, path in enumerate(PATHS)}
        updates, state = update(gradients, state, params)
        params = {path: params[path] + updates[path] for path in PATHS}
    for i, path in enumerate(PATHS):  # 18 updates of at most 0.1, in float32
        np.testing.assert_allclose(params[path], expected[i], rtol=0, atol=4e-6)
        np.testing.assert_allclose(js.ema_params(state)[path], averages[i], rtol=0, atol=4e-6)
