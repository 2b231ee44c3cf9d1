"""Files: several documents, lines, duplicates, broken YAML, and files that cannot be read."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.unit.resource.documents import SMALL, VALID, text_of
from workerpool_operator.resource import ResourceError, World, load_files, load_pools, yaml_builder

pytestmark = pytest.mark.unit

HEAD = "apiVersion: workerpool.dev/v1alpha1\nkind: WorkerPool\n"
TAIL = "spec:\n  queues: [{name: q}]\n  broker: {url: redis://r}\n  worker: {}\n"


def pool(name: str, tail: str = TAIL) -> str:
    return f"{HEAD}metadata:\n  name: {name}\n{tail}"


def errors(text: str, world: World = World.KUBERNETES) -> list[str]:
    with pytest.raises(ResourceError) as caught:
        load_pools(text, world=world)
    return str(caught.value).splitlines()


def test_reads_documents_in_order_and_skips_empty_ones() -> None:
    text = f"---\n---\n{pool('a')}---\n# nothing\n---\n{pool('b')}...\n"

    assert [str(found) for found in load_pools(text)] == ["default/a", "default/b"]


def test_a_list_is_read_as_its_items() -> None:
    text = f"apiVersion: v1\nkind: List\nitems:\n- {text_of(SMALL).replace(chr(10), chr(10) + '  ')}"

    assert [str(found) for found in load_pools(text)] == ["default/email"]
    assert errors(text.replace("redis://", "redis+")) == [
        "pools.yaml:7: spec.broker.url: is not a URL (such as redis://redis:6379/0)"
    ]


def test_what_kubectl_prints_is_read_back() -> None:
    metadata = {
        **VALID["metadata"],
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "managedFields": [{"a": None}],
    }
    text = text_of({**VALID, "metadata": metadata, "status": {"anything": [1]}})

    assert load_pools(text)[0].metadata.generation == 2


def test_anchors_and_merge_keys() -> None:
    tail = TAIL.replace("[{name: q}]", "&queues [{name: q}]")
    other = TAIL.replace("worker: {}", "worker:\n    podLabels: &l {a: b}\n    nodeSelector: {<<: *l, c: d}")

    first, second = load_pools(f"{pool('a', tail)}---\n{pool('b', other)}")

    assert first.queue_names == ("q",)
    assert second.to_dict()["spec"]["worker"]["nodeSelector"] == {"a": "b", "c": "d"}


def test_scalars_are_read_as_kubernetes_does() -> None:
    tail = TAIL.replace("{}", "{podAnnotations: {time: 12:30, date: 2024-01-02}, terminationGracePeriodSeconds: 0x1e}")
    worker = load_pools(pool("a", tail + "  scaling: {paused: yes}\n"))[0].spec.worker

    assert worker is not None
    assert dict(worker.pod_annotations) == {"time": "12:30", "date": "2024-01-02"}
    assert worker.termination_grace_period_seconds == 30


def test_a_problem_names_document_and_pool_when_there_are_several() -> None:
    bad = TAIL + "  maxReplicas: 0\n"

    assert errors(f"{pool('a')}---\n{pool('b', bad)}") == [
        "pools.yaml:18: spec.maxReplicas: must be at least 1, not 0 (document 2, b)"
    ]


def test_one_name_twice_names_both_lines() -> None:
    explicit = pool("a").replace("name: a", "name: a\n  namespace: default")

    assert errors(f"{pool('a')}---\n{explicit}") == [
        (
            "pools.yaml:13: metadata.name: a pool of this namespace and name is defined at pools.yaml:4 already; "
            "rename one of them (document 2, a)"
        )
    ]
    assert len(load_pools(f"{pool('a')}---\n{explicit.replace('default', 'other')}")) == 2


DOCUMENTS = [
    ("", "pools.yaml: holds no document; write a WorkerPool into it"),
    ("---\n# nothing\n", "pools.yaml: holds no document; write a WorkerPool into it"),
    ("hello", "pools.yaml:1: must be a WorkerPool: a mapping with apiVersion, kind and so on"),
    (
        pool("a").replace("kind: WorkerPool", "kind: Deployment"),
        "pools.yaml:2: kind: Deployment is not a WorkerPool",
    ),
    (pool("a").replace("v1alpha1", "v2"), "pools.yaml:1: apiVersion: workerpool.dev/v2 is not workerpool.dev/v1alpha1"),
    (pool("a").replace("kind: WorkerPool\n", ""), "pools.yaml:1: kind: is required: WorkerPool"),
    (pool("a\n  name: b"), "pools.yaml:5:3: name is given twice, first in line 4; keep one of them"),
    (pool("a", "spec:\n\tqueues: []\n"), "pools.yaml:6:1: not YAML: a tab cannot indent; use spaces"),
    (
        pool("a") + "  minReplicas: 1: 2\n",
        (
            'pools.yaml:9:17: not YAML: a ":" where no field may begin; '
            'check the indentation, or put text that holds ": " in quotes'
        ),
    ),
    (pool("@a"), "pools.yaml:4:9: not YAML: text cannot begin with @; put it in quotes"),
    (
        pool("a") + "  scaling: {start: */5 * * * *}\n",
        "pools.yaml:9:21: not YAML: text that begins with * or & has to be in quotes",
    ),
    (
        pool("a") + "  x: *y\n",
        "pools.yaml:9:6: *y refers to no anchor before it; put text that begins with * in quotes",
    ),
    (
        HEAD + "spec: {a: [1\n",
        "pools.yaml:4:1: not YAML: expected ',' or ']' (parsing a flow sequence that begins in line 3)",
    ),
    (
        HEAD + "a: 1\n b: 2\n",
        (
            'pools.yaml:4:3: not YAML: a ":" where no field may begin; '
            'check the indentation, or put text that holds ": " in quotes'
        ),
    ),
    (
        HEAD + "a: |\n  x\n b: 2\n",
        (
            "pools.yaml:5:2: not YAML: expected another field, or less indentation "
            "(parsing a block mapping that begins in line 1)"
        ),
    ),
    (
        HEAD + "a: \x07\n",
        "pools.yaml:3:4: not YAML: it holds a character that no text has (is it a text file in UTF-8?)",
    ),
    (
        HEAD + "a: \ud800\n",
        "pools.yaml:3:4: not YAML: it holds a character that no text has (is it a text file in UTF-8?)",
    ),
    (
        HEAD + "a: !!python/object:os.system {}\n",
        "pools.yaml:3:4: tags other than !!str, !!int, !!float, !!bool, !!null, !!map and !!seq are not allowed",
    ),
    (HEAD + "a: !!int x\n", "pools.yaml:3:4: the value is not what its tag !!int says"),
    (HEAD + "? [a]\n: b\n", "pools.yaml:3:3: the name of a field must be text"),
    (HEAD + "<<: 5\n", "pools.yaml:3:1: << takes a mapping, or a list of them"),
    ("[" * 100_000, "pools.yaml:1:66: is nested more than 64 levels deep"),
    (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
        "pools.yaml:5:17: the document unfolds to more than 50000 values",
    ),
]


@pytest.mark.parametrize(("text", "expected"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_document_that_cannot_be_used_has_one_line(text: str, expected: str) -> None:
    assert errors(text) == [expected]


def test_what_stands_before_broken_yaml_is_judged_too() -> None:
    lines = errors(f"{pool('a', TAIL + '  x: 1' + chr(10))}---\na: [\n")

    assert [line.split(": ")[0] for line in lines] == ["pools.yaml:12:1", "pools.yaml:9"]


def test_a_problem_inside_a_merged_mapping_has_the_line_of_its_source() -> None:
    text = pool("a", "x: &w\n  image: 5\n" + TAIL.replace("worker: {}", "worker: {<<: *w}"))

    assert "pools.yaml:6: spec.worker.image: must be text, not the number 5 (put it in quotes)" in errors(text)


def test_files_of_every_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbf" + pool("a").encode())
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"# a\n# \xe9\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pool("b").encode())))

    assert [str(found) for found in load_files([good, "-"])] == ["default/a", "default/b"]
    with pytest.raises(ResourceError) as caught:
        load_files([tmp_path / "none.yaml", tmp_path, latin, good, good, "a\0b"])
    place = f"{good}:4"
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/none.yaml: there is no such file",
        f"{tmp_path}: is a folder; name a file in it",
        f"{latin}: is not text in UTF-8 (line 2); save it as UTF-8",
        "a\0b: cannot be read: not a file name",
        f"{place}: metadata.name: a pool of this namespace and name is defined at {place} already; rename one of them",
    ]


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, whom no file refuses
    with pytest.raises(ResourceError, match=r"^a\.yaml: may not be read; check its permissions$"):
        load_files(["a.yaml"])


def test_broken_standard_input_is_called_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello")))
    with pytest.raises(ResourceError, match=r"^stdin:1: must be a WorkerPool"):
        load_files(["-"])


def test_limits_of_the_reader_are_those_of_the_messages() -> None:
    assert (yaml_builder.MAX_DEPTH, yaml_builder.MAX_NODES) == (64, 50_000)
