"""kubeconform with the strict schemas of ``tools.kube_schemas``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.chart.programs import run
from tools.kube_schemas import locations


@dataclass(frozen=True, kw_only=True)
class Kubeconform:
    """Folders with schemas; the first that has one counts."""

    folders: tuple[Path, ...]

    def complaints(self, text: str, version: str) -> list[str]:
        """What is wrong with manifests for a version of Kubernetes; the test fails where there are none to look at."""
        places = [
            part for folder in self.folders for place in locations(folder) for part in ("-schema-location", place)
        ]
        done = run(
            "kubeconform", "-strict", "-output", "json", "-summary", "-kubernetes-version", version, *places, stdin=text
        )
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout)
        summary = answer["summary"]
        assert summary["valid"] + summary["invalid"] + summary["errors"] > 0, "nothing was looked at"
        assert summary["skipped"] == 0, "something was left out"
        return [f"{one['kind']}/{one['name']}: {one['msg']}" for one in answer["resources"] or ()]
