"""The ``workerpool`` command."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """Right-sized pools of queue workers, from one YAML."""
