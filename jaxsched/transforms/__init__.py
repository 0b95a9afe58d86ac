"""Transformations around an optimizer: accumulation inside the clock, torch's clipping, averages, flattening."""

from jaxsched.transforms._accumulate import AccumulateState as AccumulateState
from jaxsched.transforms._accumulate import accumulate as accumulate
from jaxsched.transforms._accumulate import did_update as did_update
from jaxsched.transforms._clip import clip_each_norm as clip_each_norm
from jaxsched.transforms._clip import clip_norm as clip_norm
from jaxsched.transforms._ema import EmaState as EmaState
from jaxsched.transforms._ema import ema as ema
from jaxsched.transforms._ema import ema_params as ema_params
from jaxsched.transforms._ema import ema_update as ema_update
from jaxsched.transforms._ema_decay import power_ramp as power_ramp
from jaxsched.transforms._ema_decay import ratio_ramp as ratio_ramp
from jaxsched.transforms._finite import SkipState as SkipState
from jaxsched.transforms._finite import nonfinite_count as nonfinite_count
from jaxsched.transforms._finite import skip_nonfinite as skip_nonfinite
from jaxsched.transforms._flatten import FlatGroups as FlatGroups
from jaxsched.transforms._flatten import flatten_groups as flatten_groups
from jaxsched.transforms._flatten import unflatten_groups as unflatten_groups
from jaxsched.transforms._sharding import state_sharding as state_sharding
