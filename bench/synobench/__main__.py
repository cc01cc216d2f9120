"""``python -m synobench``: the command line."""

from synobench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
