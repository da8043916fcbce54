"""Run geoembed: `python -m geoembed` is `geoembed`."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line."""
    # Threads of PyTorch that wait by spinning slow training down four times and more where others want the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from geoembed import interrupts
    from geoembed.cli import app

    interrupts.listen()
    app()


if __name__ == "__main__":
    main()
