"""Files beside the tests that are programs of their own, not tests."""

collect_ignore = ["core_alone.py", "parity/_torchvision.py", "parity/install.py", "detector/devices_script.py"]
