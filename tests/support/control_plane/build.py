"""A build from Go modules: slow once (minutes), and then in the cache. It needs a Go toolchain and a module proxy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .process import ending_with_us
from .programs import ETCD, KUBERNETES, KWOK, UNFINISHED, UnavailableError, cache_folder

LIMIT_S = 45 * 60


@dataclass(frozen=True, kw_only=True)
class Module:
    """A Go module and the commands in it that we want."""

    path: str
    version: str
    commands: Mapping[str, str]
    flags: str = ""


_STAMP = "k8s.io/component-base/version"
_MAJOR, _MINOR, _PATCH = KUBERNETES.split(".")
MODULES = (
    Module(path="go.etcd.io/etcd/server/v3", version=ETCD, commands={"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(path="sigs.k8s.io/kwok", version=KWOK, commands={"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Module(
        path="k8s.io/kubernetes",
        version=KUBERNETES,
        commands={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        },
        # Without these, a server says that it is v0.0.0, and clients refuse it.
        flags=(
            f"-X {_STAMP}.gitVersion=v{KUBERNETES} -X {_STAMP}.gitMajor={_MAJOR} -X {_STAMP}.gitMinor={_MINOR} "
            f"-X {_STAMP}.gitTreeState=clean"
        ),
    ),
)


class GoBuild:
    """Builds into the cache."""

    name = "Go modules"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def find(self, names: Collection[str]) -> Mapping[str, Path]:
        """Build each of the programs; the first failure ends it, what came before it stays in the cache."""
        go = shutil.which("go")
        if go is None:
            raise UnavailableError("no go on PATH")
        found: dict[str, Path] = {}
        for module in MODULES:
            commands = {name: package for name, package in module.commands.items() if name in names}
            if not commands:
                continue
            with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=UNFINISHED) as folder:
                toolchain = Toolchain(go, Path(folder))
                toolchain.require(module)
                for name, package in commands.items():
                    self._say(f"building {name} {module.version} from Go modules; minutes at first, then cached")
                    started_s = time.monotonic()
                    found[name] = toolchain.build(package, module.flags).replace(cache_folder() / name)
                    self._say(f"built {name} in {time.monotonic() - started_s:.0f} s")
        return found


class Toolchain:
    """The go command in a module of its own, which a folder holds."""

    def __init__(self, go: str, folder: Path) -> None:
        self._go = go
        self._folder = folder

    def require(self, module: Module) -> None:
        """Write a go.mod that asks for one module, with its staging folders replaced by their releases."""
        downloaded = json.loads(self._run("mod", "download", "-json", f"{module.path}@v{module.version}"))
        theirs: dict[str, Any] = json.loads(self._run("mod", "edit", "-json", str(downloaded["GoMod"])))
        lines = [
            "module workerpool.dev/control-plane",
            f"go {theirs['Go']}",
            f"require {module.path} v{module.version}",
        ]
        for replace in theirs.get("Replace") or []:
            if replace["New"]["Path"].startswith("./staging/"):
                name = replace["Old"]["Path"]
                lines.append(f"replace {name} => {name} v0.{module.version.partition('.')[2]}")
        (self._folder / "go.mod").write_text("\n".join([*lines, ""]), encoding="utf-8")

    def build(self, package: str, flags: str) -> Path:
        """Build one command; the file it is in."""
        program = self._folder / "program"
        self._run("build", "-mod=mod", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", str(program), package)
        return program

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ending_with_us(self._go, *arguments),
                cwd=self._folder,
                env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"go {arguments[0]} took more than {LIMIT_S / 60:.0f} min") from error
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise UnavailableError(f"go {' '.join(arguments[:2])}: {''.join(last)}")
        return done.stdout
