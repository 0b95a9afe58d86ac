"""What is in the wheel and in the source archive of a folder: run by CI, and before a release, not by pytest."""

import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

LARGEST = 1_000_000
"""Bytes of either archive; each has less than half of that."""

(wheel,), (source,) = (sorted(Path(sys.argv[1]).glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
with zipfile.ZipFile(wheel) as archive:
    in_wheel = archive.namelist()
    (metadata,) = (name for name in in_wheel if name.endswith(".dist-info/METADATA"))
    said = Parser().parsestr(archive.read(metadata).decode())
with tarfile.open(source) as archive:
    in_source = [name.split("/", 1)[-1] for name in archive.getnames()]

assert {name.split("/")[0] for name in in_wheel} == {"jaxsched", metadata.split("/")[0]}, in_wheel
assert {"jaxsched/py.typed", "jaxsched/__init__.pyi"} <= set(in_wheel)
beside = {name.split("/")[0] for name in in_source}
assert beside <= {"jaxsched", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}, (
    beside
)
for path in (wheel, source):
    assert path.stat().st_size < LARGEST, f"{path.name} has {path.stat().st_size:,} bytes"
assert {"Homepage", "Documentation", "Repository", "Issues", "Changelog"} == {
    url.split(",")[0] for url in said.get_all("Project-URL")
}
assert {"cli", "yaml", "plot", "page", "example"} <= set(said.get_all("Provides-Extra"))
assert said["License-Expression"] == "Apache-2.0"
print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {source.name}: {source.stat().st_size:,} bytes")
