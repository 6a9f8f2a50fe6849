"""Output that never stops the work: a reader that went away, a full disk, a character it cannot write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.core.management.color import Style

_Wrapper: Any = OutputWrapper  # whose stream is not in the type stubs


class PatientOutput(_Wrapper):  # type: ignore[misc]
    """Django's output of a command; what cannot be written is dropped, and remembered."""

    def __init__(self, wrapped: OutputWrapper) -> None:
        """Write to where another output writes."""
        inner: Any = wrapped
        super().__init__(inner._out, inner.ending)
        self.style_func = inner._style_func
        self.failure: OSError | None = None

    def write(
        self, msg: str = "", style_func: Callable[[str], str] | None = None, ending: str | None = None
    ) -> None:
        """Write a message. Raises nothing."""
        if not self.can_write(msg):
            msg = msg.encode(self._encoding, "replace").decode(self._encoding)
        self._try(super().write, msg, style_func, ending)

    def can_write(self, text: str) -> bool:
        """Whether the encoding of the stream has all these characters."""
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return False
        return True

    @property
    def _encoding(self) -> str:
        return getattr(self._out, "encoding", None) or "utf-8"

    def flush(self) -> None:
        """Let the reader see what was written. Raises nothing."""
        self._try(super().flush)

    def refuse_loss(self) -> None:
        """Raise CommandError if some of it was lost although its reader wanted it."""
        self.flush()
        if self.failure and not isinstance(self.failure, BrokenPipeError):
            raise CommandError(f"The output could not be written: {self.failure.strerror}.")

    def _try(self, act: Callable[..., None], *args: Any) -> None:
        try:
            act(*args)
        except OSError as error:
            self.failure = error
            # What the stream still holds would fail again when Python ends.
            with suppress(OSError):
                os.dup2(_nowhere(), self._out.fileno())


def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)


@dataclass(frozen=True, slots=True)
class Talk:
    """How a command speaks with its operator."""

    out: PatientOutput
    style: Style
    #: Returns what was typed on the terminal; None where nobody can be asked.
    ask: Callable[[str], str] | None

    def say(self, *texts: str) -> None:
        """Write lines."""
        for text in texts:
            self.out.write(text)


def talk_of(command: BaseCommand, *, interactive: bool = True) -> Talk:
    """Return how this command speaks; its output is patient from now on."""
    out = PatientOutput(command.stdout)
    command.stdout = out
    return Talk(out, command.style, input if interactive and sys.stdin and sys.stdin.isatty() else None)


def note(text: str) -> None:
    """Write a line to where errors go, if anybody reads there."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


#: What an operator types to agree, and nothing like it.
YES: Final = "yes"


def typed_yes(ask: Callable[[str], str], question: str) -> bool:
    """Whether the operator typed it; the end of the input and Ctrl-C are no."""
    try:
        return ask(question).strip() == YES
    except (EOFError, KeyboardInterrupt):
        return False
