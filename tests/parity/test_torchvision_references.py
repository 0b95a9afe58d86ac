"""The schedulers and averages that torchvision's reference scripts make of their arguments, in torch."""

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
    a = {**torchvision.DEFAULTS["classification"], **args}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=a["lr"])
    theirs, schedule = [], scheduler(optimizer, a)
    for _ in range(EPOCHS):
        theirs += [optimizer.param_groups[0]["lr"]] * NB
        optimizer.step()
        schedule.step()
    recipe = torchvision.recipe({**args, "epochs": EPOCHS}, steps_per_epoch=NB, script="classification")
    np.testing.assert_allclose(js.curves(recipe)["all"]["lr"], theirs, rtol=2e-6, atol=1e-9)


def warmed(optimizer, main, a, nb):
    """As the scripts for segmentation and video compose them: in iterations."""
    if not (warm := nb * a["lr_warmup_epochs"]):
        return main
    if a["lr_warmup_method"] == "linear":
        first = s.LinearLR(optimizer, start_factor=a["lr_warmup_decay"], total_iters=warm)
    else:
        first = s.ConstantLR(optimizer, factor=a["lr_warmup_decay"], total_iters=warm)
    return s.SequentialLR(optimizer, schedulers=[first, main], milestones=[warm])


def detection(optimizer, a, nb):
    """Yields before each step; a scheduler of the first epoch's steps and one of epochs."""
    if a["lr_scheduler"] == "multisteplr":
        by_epoch = s.MultiStepLR(optimizer, milestones=a["lr_steps"], gamma=a["lr_gamma"])
    else:
        by_epoch = s.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    for epoch in range(EPOCHS):
        by_step = None
        if epoch == 0:
            by_step = s.LinearLR(optimizer, start_factor=1.0 / 1000, total_iters=min(1000, nb - 1))
        for _ in range(nb):
            yield
            optimizer.step()
            if by_step is not None:
                by_step.step()
        by_epoch.step()


def by_iteration(optimizer, schedule, nb):
    for _ in range(EPOCHS * nb):
        yield
        optimizer.step()
        schedule.step()


def segmentation(optimizer, a, nb):
    main = s.PolynomialLR(optimizer, total_iters=nb * (EPOCHS - a["lr_warmup_epochs"]), power=0.9)
    return by_iteration(optimizer, warmed(optimizer, main, a, nb), nb)


def video_classification(optimizer, a, nb):
    at = [nb * (m - a["lr_warmup_epochs"]) for m in a["lr_milestones"]]
    main = s.MultiStepLR(optimizer, milestones=at, gamma=a["lr_gamma"])
    return by_iteration(optimizer, warmed(optimizer, main, a, nb), nb)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*", "ignore:The epoch parameter")
@pytest.mark.parametrize(
    ("script", "nb", "args"),
    [
        (detection, 7, dict(lr_steps=[8, 3, 8], lr_gamma=0.3)),
        (detection, 1, dict(lr_steps=[0, 3])),
        (detection, 1205, dict(lr_scheduler="cosineannealinglr", lr=0.1)),
        (segmentation, 5, dict(lr=0.02, aux_loss=True)),
        (segmentation, 5, dict(lr_warmup_epochs=3, lr_warmup_decay=0.1, aux_loss=True)),
        (segmentation, 5, dict(lr_warmup_epochs=2, lr_warmup_method="constant")),
        (video_classification, 5, dict(lr_milestones=[8, 5], lr_gamma=0.5, lr_warmup_epochs=2, world_size=4)),
        (video_classification, 5, dict(lr_milestones=[2, 4, 9], lr_warmup_epochs=4)),
        (video_classification, 5, dict(lr_milestones=[0, 6], lr_warmup_epochs=0)),
        (video_classification, 5, dict(lr_milestones=[3], lr_warmup_epochs=6, lr_warmup_method="constant")),
    ],
)
def test_every_step_of_the_other_scripts_has_torchs_lr(script, nb, args):
    name = script.__name__
    a = {**torchvision.DEFAULTS[name], **args}
    lr = a["lr"] * (a["world_size"] if name == "video_classification" else 1)
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (lr, lr * 10)]
    optimizer = torch.optim.SGD(groups, lr=lr)
    theirs = [[group["lr"] for group in optimizer.param_groups] for _ in script(optimizer, a, nb)]
    ours = js.curves(torchvision.recipe({**args, "epochs": EPOCHS}, steps_per_epoch=nb, script=name))
    names = ["other", "aux_classifier"] if a.get("aux_loss") else ["all"]
    assert set(ours) == set(names)
    for k, group in enumerate(names):
        np.testing.assert_allclose(ours[group]["lr"], [rates[k] for rates in theirs], rtol=3e-6, atol=1e-9)


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
        expected = float(average.module.weight.detach()) if step else float(np.sin(0))
        np.testing.assert_allclose(js.ema_params(state)["w"][0], expected, rtol=1e-5)
