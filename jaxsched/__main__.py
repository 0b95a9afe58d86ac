"""``python -m jaxsched``: the command `jaxsched.cli`."""

from jaxsched.cli import main

if __name__ == "__main__":
    main()
