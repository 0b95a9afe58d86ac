"""OneCycle, as mmcv, mmengine and torch have it: a rise to the peak, a fall, and a last fall to almost 0."""

from __future__ import annotations

from jaxsched.ports.openmmlab._settings import Settings
from jaxsched.ports.shared import phases
from jaxsched.schedules import Schedule


def cycle(settings: Settings, values: list[float], total: int, three: bool) -> Schedule:
    share = settings.number("pct_start", 0.3)
    shape = settings.choice("anneal_strategy", ("cos", "linear"), "cos")
    if not isinstance(share, float) or not 0 <= share <= 1:
        raise ValueError(f"{settings.where}: pct_start must be a float in [0, 1], got {share!r}")
    if share * total == 1:
        raise ValueError(f"{settings.where}: pct_start={share!r} of {total} steps is one step: there is no rise")
    ends = [share * total - 1, 2 * share * total - 2, total - 1] if three else [share * total - 1, total - 1]
    while len(ends) > 1 and ends[-1] <= ends[-2]:  # never entered
        ends.pop()
    return phases(values[: len(ends) + 1], ends, shape)


def one_cycle(settings: Settings, peak: str, length: int, runs_for: int | None = None) -> Schedule:
    """OneCycle of a learning rate, in both generations; the optimizer's lr has no effect.

    Args:
        settings: Of the policy or scheduler.
        peak: What the largest value is called.
        length: ``total_steps``, if it is not set.
        runs_for: Steps that it runs for, if they are not ``length``.
    """
    top = settings.for_all_groups(peak)
    total = settings.count("total_steps", None, least=1) or length
    if total < (runs_for := length if runs_for is None else runs_for):
        raise ValueError(f"{settings.where}: total_steps={total} is less than the {runs_for} steps that it runs for")
    div, final = settings.number("div_factor", 25.0), settings.number("final_div_factor", 1e4)
    three = settings.flag("three_phase")
    low = top / div
    return cycle(settings, [low, top, low, low / final] if three else [low, top, low / final], total, three)
