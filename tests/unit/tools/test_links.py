"""Links that lead nowhere are found, with their line; those that lead somewhere are left in peace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.links import anchors, dead_links

pytestmark = pytest.mark.unit


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "adr").mkdir()
    (tmp_path / "adr" / "0001.md").write_text("# 1. The *first*\n", encoding="utf-8")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "link",
    [
        "[a](adr/0001.md)",
        "[a folder](adr)",
        "[a](adr/0001.md#1-the-first)",
        "[a](#here-it-is)",
        "[a](https://example.com/no)",
        "[a](mailto:a@example.com)",
        "`[no link](nowhere.md)`",
        "![picture](adr/0001.md) and [b](page.md#here-it-is-1)",
    ],
)
def test_a_link_that_leads_somewhere(page: Path, link: str) -> None:
    page.write_text(f"# Here `it` is\n\n{link}\n\n## Here it is\n", encoding="utf-8")
    assert list(dead_links(page)) == []


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("[a](adr/0002.md)", "adr/0002.md"),
        ("[a](#there)", "#there"),
        ("[a](adr/0001.md#2-the-second)", "adr/0001.md#2-the-second"),
        ("[a](adr/0001.md) [b](gone.md)", "gone.md"),
        ("![picture](images/gone.png)", "images/gone.png"),
    ],
)
def test_a_link_to_nowhere_is_named_with_its_line(page: Path, link: str, target: str) -> None:
    page.write_text(f"# Here\n\n{link}\n", encoding="utf-8")
    assert list(dead_links(page)) == [(3, target)]


def test_blocks_of_code_are_no_prose(page: Path) -> None:
    page.write_text("```text\n[a](gone.md)\n# there\n```\n\n[b](#there)\n", encoding="utf-8")
    assert list(dead_links(page)) == [(6, "#there")]


def test_anchors_are_those_of_github(page: Path) -> None:
    text = "# What's `new`, 2 & 3\n## [A link](x.md)\n## Twice\n## Twice\n"
    page.write_text(text, encoding="utf-8")
    assert anchors(page) == {"whats-new-2--3", "a-link", "twice", "twice-1"}
