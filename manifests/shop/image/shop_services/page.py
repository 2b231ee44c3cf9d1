"""The mail sink's page for people: how many mails, what came twice, and the latest ones."""

from __future__ import annotations

import time
from html import escape

from .store import Mail, Store

LATEST = 100

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="3">
<title>{total} mails</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere }}
.bad {{ color: #d0342c; font-weight: 600 }}
@media (prefers-color-scheme: dark) {{ body {{ background: #161616; color: #ddd }} a {{ color: #8ab4f8 }} }}
</style>
</head>
<body>
<h1>{total} mails</h1>
<p>{jobs} jobs, <span class="{tone}">{twice} of them more than once</span>.
<a href="/counts">counts</a> · <a href="/mails">all, as JSON lines</a></p>
<table>
<thead><tr><th>#</th><th>at (UTC)</th><th>to</th><th>subject</th><th>job</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def page(store: Store) -> str:
    """The page, the latest mail first."""
    counts = store.counts()
    mails = store.mails(since=counts["total"] - LATEST)
    twice = len(counts["duplicates"])
    return _PAGE.format(
        total=counts["total"],
        jobs=counts["jobs"],
        twice=twice,
        tone="bad" if twice else "good",
        rows="\n".join(_row(mail) for mail in reversed(mails)),
    )


def _row(mail: Mail) -> str:
    at = time.strftime("%H:%M:%S", time.gmtime(mail.received_at))
    cells = (at, ", ".join(mail.to), mail.subject, mail.job_id or "")
    first = f'<td><a href="/mails/{mail.index}">{mail.index}</a></td>'
    return f"<tr>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
