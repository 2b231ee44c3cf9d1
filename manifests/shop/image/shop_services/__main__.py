"""`python3 -m shop_services mail | postgres`: one service a container."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

_USAGE_ERROR = 2


def main(arguments: list[str]) -> int:
    """Run the service named; its exit status."""
    data = Path(os.environ.get("DATA_DIR", "/data"))
    match arguments:
        case ["mail"]:
            # Imported where it is needed: the database's container has no use for a mail server in its memory.
            from .mail import serve  # noqa: PLC0415

            ports = [int(os.environ.get(name, default)) for name, default in (("MAIL_PORT", 1025), ("HTTP_PORT", 8025))]
            return asyncio.run(serve(data / "mails.jsonl", smtp_port=ports[0], http_port=ports[1]))
        case ["postgres"]:
            from .postgres import SetUpError, run  # noqa: PLC0415

            try:
                return run(data, os.environ.get("DATABASE_URL", ""), port=int(os.environ.get("POSTGRES_PORT", "5432")))
            except SetUpError as error:
                sys.stderr.write(f"shop-services postgres: {error}\n")
                return 1
    sys.stderr.write("usage: python3 -m shop_services mail | postgres\n")
    return _USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
