"""What several ports share: reading settings, and schedules that the core does not have."""

from jaxsched.ports.shared._by_update import batches_to_an_update as batches_to_an_update
from jaxsched.ports.shared._by_update import by_update as by_update
from jaxsched.ports.shared._calls import Imported as Imported
from jaxsched.ports.shared._config_dict import METHODS as METHODS
from jaxsched.ports.shared._config_dict import AttributeDict as AttributeDict
from jaxsched.ports.shared._config_dict import ConfigDict as ConfigDict
from jaxsched.ports.shared._config_dict import as_config as as_config
from jaxsched.ports.shared._config_dict import deepcopy as deepcopy
from jaxsched.ports.shared._config_dict import resolved as resolved
from jaxsched.ports.shared._config_file import ConfigSettings as ConfigSettings
from jaxsched.ports.shared._config_file import is_json as is_json
from jaxsched.ports.shared._config_file import read_config as read_config
from jaxsched.ports.shared._config_file import unknown_in as unknown_in
from jaxsched.ports.shared._cycles import MOST_CYCLES as MOST_CYCLES
from jaxsched.ports.shared._cycles import Spans as Spans
from jaxsched.ports.shared._cycles import cosine_cycles as cosine_cycles
from jaxsched.ports.shared._cycles import poly_cycles as poly_cycles
from jaxsched.ports.shared._cycles import tanh_cycles as tanh_cycles
from jaxsched.ports.shared._cycles import unequal as unequal
from jaxsched.ports.shared._expressions import value_of as value_of
from jaxsched.ports.shared._files import LARGEST_FILE as LARGEST_FILE
from jaxsched.ports.shared._files import LARGEST_TOTAL as LARGEST_TOTAL
from jaxsched.ports.shared._files import MOST_FILES as MOST_FILES
from jaxsched.ports.shared._files import File as File
from jaxsched.ports.shared._files import Files as Files
from jaxsched.ports.shared._files import configs_root as configs_root
from jaxsched.ports.shared._files import file_or_dict as file_or_dict
from jaxsched.ports.shared._files import in_time as in_time
from jaxsched.ports.shared._files import opened as opened
from jaxsched.ports.shared._files import read as read
from jaxsched.ports.shared._forgetting import Function as Function
from jaxsched.ports.shared._kind import Kind as Kind
from jaxsched.ports.shared._kind import MissingError as MissingError
from jaxsched.ports.shared._kind import Option as Option
from jaxsched.ports.shared._kind import epoch_length as epoch_length
from jaxsched.ports.shared._layers import TOKENS as TOKENS
from jaxsched.ports.shared._layers import Layers as Layers
from jaxsched.ports.shared._layers import blocks_of as blocks_of
from jaxsched.ports.shared._layers import swin_layers as swin_layers
from jaxsched.ports.shared._layers import vit_layers as vit_layers
from jaxsched.ports.shared._numbers import as_beta as as_beta
from jaxsched.ports.shared._numbers import as_count as as_count
from jaxsched.ports.shared._numbers import as_number as as_number
from jaxsched.ports.shared._numbers import check_names as check_names
from jaxsched.ports.shared._numbers import within as within
from jaxsched.ports.shared._operators import Unclear as Unclear
from jaxsched.ports.shared._operators import certain as certain
from jaxsched.ports.shared._program import config_of as config_of
from jaxsched.ports.shared._python import Budget as Budget
from jaxsched.ports.shared._python import SourceError as SourceError
from jaxsched.ports.shared._python import Unknown as Unknown
from jaxsched.ports.shared._python import parse_python as parse_python
from jaxsched.ports.shared._python import source_of as source_of
from jaxsched.ports.shared._script import Script as Script
from jaxsched.ports.shared._settings import Settings as Settings
from jaxsched.ports.shared._shapes import Anneal as Anneal
from jaxsched.ports.shared._shapes import annealed as annealed
from jaxsched.ports.shared._shapes import before_correction as before_correction
from jaxsched.ports.shared._shapes import cosine_and_back as cosine_and_back
from jaxsched.ports.shared._shapes import cyclic_ratio as cyclic_ratio
from jaxsched.ports.shared._shapes import held as held
from jaxsched.ports.shared._shapes import phases as phases
from jaxsched.ports.shared._shapes import phases_at as phases_at
from jaxsched.ports.shared._shapes import power_rise as power_rise
from jaxsched.ports.shared._shapes import quadratic_rise as quadratic_rise
from jaxsched.ports.shared._shapes import shifted as shifted
from jaxsched.ports.shared._solve import Observed as Observed
from jaxsched.ports.shared._solve import Solution as Solution
from jaxsched.ports.shared._solve import ends as ends
from jaxsched.ports.shared._solve import lengths_that_fit as lengths_that_fit
from jaxsched.ports.shared._solve import peaks_that_fit as peaks_that_fit
from jaxsched.ports.shared._solve import told as told
from jaxsched.ports.shared._torch_optimizers import IMPLEMENTATION as IMPLEMENTATION
from jaxsched.ports.shared._torch_optimizers import TORCH_OPTIMIZERS as TORCH_OPTIMIZERS
from jaxsched.ports.shared._torch_optimizers import defaults_of as defaults_of
from jaxsched.ports.shared._torch_optimizers import torch_optimizer as torch_optimizer
from jaxsched.ports.shared._versions import open_version as open_version
from jaxsched.ports.shared._words import parse_words as parse_words
from jaxsched.ports.shared._yacs import LONGEST_STRING as LONGEST_STRING
from jaxsched.ports.shared._yacs import YacsSettings as YacsSettings
from jaxsched.ports.shared._yaml import Opaque as Opaque
from jaxsched.ports.shared._yolo import MOST_BATCHES as MOST_BATCHES
from jaxsched.ports.shared._yolo import Curve as Curve
from jaxsched.ports.shared._yolo import Loop as Loop
from jaxsched.ports.shared._yolo import longer_warmup as longer_warmup
from jaxsched.ports.shared._yolo import warmup_steps as warmup_steps
from jaxsched.ports.shared._yolo import what_differs as what_differs

SCHEDULES = (
    batches_to_an_update,
    before_correction,
    by_update,
    cosine_and_back,
    cosine_cycles,
    cyclic_ratio,
    held,
    phases,
    poly_cycles,
    power_rise,
    quadratic_rise,
    shifted,
    tanh_cycles,
)
"""The schedules that a saved recipe identifies by keys of this package."""
