"""The command line: a thin layer over services. ``main`` is the program."""

from __future__ import annotations


def main() -> None:
    """Runs the command line; a deliberate error is one line and its exit code, never a traceback."""
    from forethought.cli.app import run

    run()
