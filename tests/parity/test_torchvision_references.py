"""The schedulers, groups and averages that torchvision's script for classification makes of its arguments, in torch."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js
from jaxsched.ports import torchvision

torch = pytest.importorskip("torch")
s = torch.optim.lr_scheduler

EPOCHS, NB = 12, 5
CASES = [
    dict(lr=0.1, lr_step_size=4, lr_gamma=0.3),
    dict(lr=0.1, lr_step_size=3, lr_warmup_epochs=2),
    dict(lr=0.5, lr_scheduler="cosineannealinglr", lr_warmup_epochs=5, lr_warmup_method="linear", lr_min=0.01),
    dict(lr=0.5, lr_scheduler="CosineAnnealingLR", opt="adamw"),
    dict(lr=0.064, lr_scheduler="exponentiallr", lr_gamma=0.9, lr_warmup_epochs=3, lr_warmup_decay=0.2, opt="rmsprop"),
]


def scheduler(optimizer, a):
    """As the script composes them."""
    kind = a["lr_scheduler"].lower()
    if kind == "steplr":
        main = s.StepLR(optimizer, step_size=a["lr_step_size"], gamma=a["lr_gamma"])
    elif kind == "cosineannealinglr":
        main = s.CosineAnnealingLR(optimizer, T_max=EPOCHS - a["lr_warmup_epochs"], eta_min=a["lr_min"])
    else:
        main = s.ExponentialLR(optimizer, gamma=a["lr_gamma"])
    warm = a["lr_warmup_epochs"]
    if not warm:
        return main
    if a["lr_warmup_method"] == "linear":
        first = s.LinearLR(optimizer, start_factor=a["lr_warmup_decay"], total_iters=warm)
    else:
        first = s.ConstantLR(optimizer, factor=a["lr_warmup_decay"], total_iters=warm)
    return s.SequentialLR(optimizer, schedulers=[first, main], milestones=[warm])


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*", "ignore:The epoch parameter")
@pytest.mark.parametrize("args", CASES)
def test_every_epoch_has_torchs_lr(args):
    a = {**torchvision.DEFAULTS, **args}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=a["lr"])
    theirs, schedule = [], scheduler(optimizer, a)
    for _ in range(EPOCHS):
        theirs += [optimizer.param_groups[0]["lr"]] * NB
        optimizer.step()
        schedule.step()
    ours = js.curves(torchvision.recipe({**args, "epochs": EPOCHS}, steps_per_epoch=NB))["all"]["lr"]
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-9)


def test_the_average_is_torchs():
    args = dict(epochs=4, lr_warmup_epochs=1, model_ema=True, model_ema_steps=2, model_ema_decay=0.999)
    recipe = torchvision.recipe(args, steps_per_epoch=NB)
    decay = 1 - min(1, 0.001 * 32 * 2 / 4)
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda avg, param, n: decay * avg + (1 - decay) * param)
    tx = js.transforms.ema(recipe.ema)
    params, state = {"w": jnp.zeros(1)}, tx.init({"w": jnp.zeros(1)})
    for step in range(4 * NB):
        value, (epoch, i) = float(np.sin(step) + step), divmod(step, NB)
        updates, state = tx.update({"w": jnp.full(1, value) - params["w"]}, state, params)
        params = {"w": params["w"] + updates["w"]}
        with torch.no_grad():
            model.weight.fill_(value)
        if i % 2 == 0:
            average.update_parameters(model)
            if epoch < 1:
                average.n_averaged.fill_(0)
        expected = float(average.module.weight) if step else float(np.sin(0))
        np.testing.assert_allclose(js.ema_params(state)["w"][0], expected, rtol=1e-5)
