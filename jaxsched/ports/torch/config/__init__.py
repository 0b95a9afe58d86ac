"""Configs that name torch's classes by their paths: of Lightning's command line, and of Hydra."""

from jaxsched.ports.shared import File as _File
from jaxsched.ports.shared import Kind as _Kind
from jaxsched.ports.torch.config._nodes import is_optimizer as _is_optimizer
from jaxsched.ports.torch.config._nodes import is_scheduler as _is_scheduler
from jaxsched.ports.torch.config._nodes import nodes as _nodes
from jaxsched.ports.torch.config._read import read as read


def _fits(file: _File) -> bool:
    found = list(_nodes(file.mapping))
    names_torch = any(_is_optimizer(node) or _is_scheduler(node) for node in found)
    return names_torch or ("trainer" in file.names and any(node.path in ("model", "fit.model") for node in found))


KINDS = (
    _Kind(
        "torch",
        "a config of Lightning's command line or of Hydra, which names torch's classes",
        _fits,
        read,
        ("config.yaml", ".hydra/config.yaml"),
    ),
)
