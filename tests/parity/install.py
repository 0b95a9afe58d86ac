"""Installs what the parity tests compare with: the originals, at the versions that the docstrings name.

    python tests/parity/install.py

Their own requirements would bring gigabytes that no test touches; so they come without, and what they need is listed.
"""

import subprocess
import sys
from pathlib import Path

import fetch_zoo

HERE = Path(__file__).parent
ORIGINALS = (
    "fvcore==0.1.5.post20221221",
    "hydra-core==1.3.8",
    "jax2onnx==0.17.1",
    "mmengine==0.10.7",
    "pytorch_lightning==2.6.6",
    "timm==1.0.31",
    "torchmetrics==1.9.0",
    "torchvision==0.28.0",
    "transformers==5.23.0",
    "ultralytics==8.4.190",
)
WHAT_THEY_NEED = (
    "addict==2.4.0",
    "antlr4-python3-runtime==4.9.3",
    "dm-pix",
    "docstring-parser",
    "filelock",
    "huggingface_hub",
    "iopath==0.1.10",
    "jsonargparse==4.53.0",
    "lightning-utilities",
    "omegaconf==2.3.0",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "opencv-python-headless",
    "packaging",
    "platformdirs",
    "portalocker",
    "psutil",
    "regex",
    "requests",
    "safetensors",
    "tabulate",
    "termcolor",
    "tokenizers",
    "typeshed-client",
    "yacs",
    "yapf==0.43.0",
)


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *arguments], check=True)


if __name__ == "__main__":
    pip("-e", f"{HERE.parents[1]}[parity]", *WHAT_THEY_NEED)
    pip("--no-deps", *ORIGINALS)
    fetch_zoo.fetch()
