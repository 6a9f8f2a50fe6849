"""A mail server in a thread, as small as the protocol allows (RFC 5321)."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class MailServer:
    """What came in, and what is refused: the beginning of a command and the answer to it."""

    port: int = 0
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    messages: list[EmailMessage] = field(default_factory=list)
    refuses: dict[str, str] = field(default_factory=dict)


class _Dialogue(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        """Answer commands until QUIT."""
        held: MailServer = self.server.held  # type: ignore[attr-defined]
        sender, recipients = "", list[str]()
        self._say("220 ready")
        while line := self.rfile.readline().decode("ascii").strip():
            command = line.upper()
            refusal = next((text for start, text in held.refuses.items() if command.startswith(start)), "")
            if refusal:
                self._say(refusal)
                if refusal.startswith("421"):
                    return
            elif command.startswith("MAIL FROM:"):
                sender = line[10:].split()[0].strip("<>")
                self._say("250 ok")
            elif command.startswith("RCPT TO:"):
                recipients.append(line[8:].split()[0].strip("<>"))
                self._say("250 ok")
            elif command == "DATA":
                self._say("354 go on")
                held.messages.append(self._message())
                held.envelopes.append((sender, recipients))
                sender, recipients = "", []
                self._say("250 taken")
            elif command == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _message(self) -> EmailMessage:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return message_from_bytes(b"".join(lines), policy=policy.default)


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailServer]:
    """Run a server on a free port of this machine, or on the one given."""
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), _Dialogue) as server:
        server.daemon_threads = True
        held = MailServer(port=server.server_address[1])
        server.held = held  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield held
        finally:
            server.shutdown()
            thread.join()
