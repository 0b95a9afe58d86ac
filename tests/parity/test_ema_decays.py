"""Decays of averages against the originals that make them."""

import importlib.util
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsched as js

torch = pytest.importorskip("torch")
STEPS = np.arange(400)


def timm_decay(**kwargs):
    """Its file alone: the package wants torchvision."""
    spec = importlib.util.find_spec("timm")
    if spec is None:
        pytest.skip("timm is not installed")
    path = Path(spec.origin).parent / "utils" / "model_ema.py"
    spec = importlib.util.spec_from_file_location("timm_model_ema_alone", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelEmaV3(torch.nn.Linear(1, 1), use_warmup=True, **kwargs).get_decay


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (dict(), dict()),
        (dict(decay=0.9, warmup_power=0.75), dict(end=0.9, power=0.75)),
        (dict(min_decay=0.2, warmup_gamma=5.0, update_after_step=9), dict(start=0.2, steps=5.0, after=9)),
    ],
)
def test_timm(theirs, ours):
    decay = timm_decay(**theirs)
    expected = [decay(step) for step in STEPS]
    np.testing.assert_allclose(js.transforms.power_ramp(**ours)(jnp.asarray(STEPS)), expected, rtol=1e-6)


@pytest.mark.parametrize("momentum", [2e-4, 0.05])
def test_mmengine(momentum):
    """Its average begins with the update after the one that copies; from there its steps count as ours."""
    averaged = pytest.importorskip("mmengine.model.averaged_model")
    ema = averaged.MomentumAnnealingEMA(torch.nn.Linear(1, 1), momentum=momentum, gamma=50)
    expected = []
    for step in STEPS:
        average, source = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        ema.steps.fill_(int(step))
        ema.avg_func(average, source, ema.steps)
        expected.append(1 - average.item())
    # 1 - momentum cancels where a decay is small
    np.testing.assert_allclose(
        js.transforms.ratio_ramp(1 - momentum, 50)(jnp.asarray(STEPS)), expected, rtol=1e-6, atol=1e-7
    )
