"""The mail sink: SMTP in, HTTP out. Every mail is kept, the second copy of one too: that is how doubles are found."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from .store import Store
from .web import handler_for

LARGEST_MAIL_BYTES = 10 * 2**20
ANSWERS_OUT_S = 0.2


class Receiver:
    """Takes mails for aiosmtpd. `idle` is set while none is being written down."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taking = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a mail, and only then say so."""
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        self._taking += 1
        self.idle.clear()
        try:
            # In a thread: waiting for the disk must not stop the other connections.
            await asyncio.to_thread(self._store.add, raw, sender=envelope.mail_from or "", to=list(envelope.rcpt_tos))
        except OSError as error:
            sys.stderr.write(f"mail not kept: {error}\n")
            # 4xx: the sender keeps the mail and tries again.
            return "452 4.3.1 cannot keep the mail now"
        finally:
            self._taking -= 1
            if not self._taking:
                self.idle.set()
        return "250 2.0.0 kept"


async def serve(file: Path, *, smtp_port: int, http_port: int, host: str = "0.0.0.0") -> int:  # noqa: S104 - a Service leads here
    """Serve until SIGTERM or SIGINT; 0."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    store = Store(file)
    receiver = Receiver(store)
    smtp = await loop.create_server(
        lambda: SMTP(receiver, loop=loop, enable_SMTPUTF8=True, data_size_limit=LARGEST_MAIL_BYTES), host, smtp_port
    )
    web = ThreadingHTTPServer((host, http_port), handler_for(store))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    ports = smtp.sockets[0].getsockname()[1], web.server_address[1]
    sys.stdout.write(f"SMTP on {ports[0]}, HTTP on {ports[1]}, {len(store.mails())} mails kept\n")
    sys.stdout.flush()
    await stop.wait()
    smtp.close()
    # A mail that is on disk but whose "250" never left would be sent again.
    await receiver.idle.wait()
    await asyncio.sleep(ANSWERS_OUT_S)
    await asyncio.to_thread(web.shutdown)
    web.server_close()
    store.close()
    return 0
