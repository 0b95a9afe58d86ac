"""For progress bars: what the last update used."""

from __future__ import annotations

from typing import Any

import jax

from jaxsched.optimizers import hyperparams
from jaxsched.optimizers.internal import lr_of, momentum_of


def progress_fields(opt_state: Any, most: int = 3) -> dict[str, str]:
    """What the last update used, short enough for a progress bar: ``tqdm.set_postfix(progress_fields(state))``.

    The learning rate of each group, in three digits; groups with the same one share it, and of more than ``most``
    different ones the range is given. The momentum too where it is the same in all groups.

    Args:
        opt_state: Anything that holds the state of an optimizer of jaxsched, as for `hyperparams`.
        most: How many different learning rates are given by group.

    Examples:
        >>> import jax.numpy as jnp, jaxsched as js
        >>> tx = js.sgd(lr=0.01, momentum=0.9, groups={"bias": dict(lr=0.1)})
        >>> js.report.progress_fields(tx.init({"kernel": jnp.ones(3), "bias": jnp.ones(3)}))
        {'lr': '0.01', 'lr bias': '0.1', 'momentum': '0.9'}
    """
    used = jax.device_get(hyperparams(opt_state))
    rates: dict[str, list[str]] = {}
    for group, values in used.items():
        if (lr := lr_of(values)) is not None:
            rates.setdefault(f"{float(lr):.3g}", []).append(group)
    fields: dict[str, str] = {}
    if len(rates) > most:
        ordered = sorted(rates, key=float)
        fields["lr"] = f"{ordered[0]}..{ordered[-1]}"
    elif rates:
        most_groups = max(rates, key=lambda rate: (len(rates[rate]), "weight" in rates[rate]))
        fields["lr"] = most_groups
        fields |= {f"lr {','.join(groups)}": rate for rate, groups in rates.items() if rate != most_groups}
    momenta = {f"{float(m):.3g}" for m in map(momentum_of, used.values()) if m is not None}
    if len(momenta) == 1 and momenta != {"0"}:
        fields["momentum"] = momenta.pop()
    return fields
