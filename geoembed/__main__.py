"""Run geoembed: `python -m geoembed` is `geoembed`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from geoembed.cli import app

    app()


if __name__ == "__main__":
    main()
