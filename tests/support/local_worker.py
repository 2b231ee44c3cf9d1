"""A stand-in for a worker: one process that says through files in a folder what happens to it.

``<pid>.ready`` it runs and has its handlers, ``<pid>.term`` a line for each SIGTERM, ``<pid>.done`` it ended in order,
``<pid>.child`` the id of its child. It runs under ``python -S``: standard library only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--on-term", choices=["finish", "ignore", "leave"], default="leave")
parser.add_argument("--child", choices=["polite", "stubborn"])
options = parser.parse_args()
folder: Path = options.folder
stop = False


def mark(kind: str, text: str = "") -> None:
    with (folder / f"{os.getpid()}.{kind}").open("a") as file:
        file.write(f"{text}\n")


def on_term(number: int, frame: FrameType | None) -> None:
    global stop  # noqa: PLW0603
    mark("term")
    stop = options.on_term != "ignore"


signal.signal(signal.SIGTERM, on_term)
if options.child:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if options.child == "stubborn" else signal.SIG_DFL)
        mark("ready")
        while True:
            time.sleep(60)
    mark("child", str(child))
sys.stderr.write("ready to work\n")
sys.stderr.flush()
mark("ready")
while not stop:
    time.sleep(0.02)
while options.on_term == "finish" and not (folder / "go").exists():
    time.sleep(0.02)
mark("done")
if options.child:
    os.kill(child, signal.SIGKILL)
