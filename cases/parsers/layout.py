"""What a delimited text looks like: its delimiter, its header, and which column holds what."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from cases.parsers.base import HEAD_SIZE, Source
from cases.parsers.clock import Clock
from cases.parsers.fields import Plan, TimeField, choose_fields, plan_for
from cases.parsers.lines import as_utf8
from cases.parsers.rows import COLUMN_LIMIT, Dialect, Row, read_rows
from cases.records import ParseError

DELIMITERS: Final = (",", ";", "\t", "|")
#: Rows that are looked at, and lines (a title, a date) that may stand before the header.
_LOOK: Final = 60
_PREAMBLE: Final = 10
_NAME_LIMIT: Final = 128
#: Names that fill so many well-known roles are a header beyond doubt.
_CLEAR: Final = 3
#: Formats of their own, whose lines may look like rows.
_OTHERS: Final = (
    b"CEF:",
    b"LEEF:",
    b"#separator",
    b"#Software:",
    b"#Version:",
    b"#Fields:",
    b"<",
    b"{",
    b"[",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one evidence are read. `header_line` is 0 where there is no header."""

    dialect: Dialect
    header: tuple[str, ...]
    header_line: int
    plan: Plan
    is_sure: bool

    def holder(self, cells: list[str]) -> dict[str, Any]:
        """Return the cells under their names; cells beyond the header are named by their column."""
        header = self.header
        held: dict[str, Any] = dict(zip(header, cells, strict=False))
        for number in range(len(header) + 1, len(cells) + 1):
            held[_free_name(f"column {number}", held)] = cells[number - 1]
        return held


def is_other(head: bytes) -> bool:
    """Whether a text is binary, or begins like a format of its own."""
    text = as_utf8(head).lstrip()
    return not text or b"\0" in text or text.startswith(_OTHERS)


def find_layout(source: Source, clock: Clock) -> Layout:
    """Return the layout of a text that is taken to be delimited. Raises ParseError for what is not.

    `is_sure` says that it cannot be anything else.
    """
    options = source.context.options
    text = _whole_lines(source.head)
    hint, text_after = _excel_hint(text)
    wanted = options.get("delimiter") or hint
    layout, best = None, None
    for delimiter in (_delimiter(wanted),) if wanted else DELIMITERS:
        found = _try(text if hint is None else text_after, delimiter, clock, hint is not None)
        if found is not None and (best is None or found[0] > best):
            best, layout = found
    if layout is None:
        raise ParseError(f"No header and rows of up to {COLUMN_LIMIT} columns were found.")
    try:
        plan = choose_fields(layout.plan, layout.header, options, must_be_there=True)
    except KeyError as error:
        names = ", ".join(layout.header)[:500]
        raise ParseError(f"There is no column {error.args[0][:64]!r}; there are {names}.") from error
    return replace(layout, plan=plan)


def describe(layout: Layout) -> dict[str, Any]:
    """Return which column became what, for people."""
    plan = layout.plan
    shown: dict[str, Any] = {
        "delimiter": layout.dialect.delimiter,
        "header_line": layout.header_line,
        "columns": list(layout.header),
        "timestamp": [field.name for field in plan.time],
        "time_zone": plan.zone,
        "day_first": plan.day_first,
    }
    roles = ("message", "host", "user", "timestamp_desc", "category", "type", "tags")
    return shown | {role: [".".join(path) for path in getattr(plan, role)] for role in roles}


def _delimiter(text: str) -> str:
    named = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
    delimiter = named.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise ParseError('The option delimiter is one character other than ", or "tab".')
    return delimiter


def _whole_lines(head: bytes) -> bytes:
    """Return the head in UTF-8 without a last line that goes on behind it."""
    text = as_utf8(head)
    return text[: text.rfind(b"\n") + 1] or text if len(head) >= HEAD_SIZE else text


def _excel_hint(text: bytes) -> tuple[str | None, bytes]:
    """Excel tells the delimiter in a first line: sep=;"""
    first, _, rest = text.partition(b"\n")
    line = first.rstrip(b"\r").strip(b'"')
    if line[:4].lower() == b"sep=" and len(line) == 5:
        return chr(line[4]), rest
    return None, text


def _try(text: bytes, delimiter: str, clock: Clock, has_hint: bool) -> tuple[tuple[Any, ...], Layout] | None:
    """Return the layout with this delimiter and how well it fits; None if it does not."""
    spaced = delimiter.encode() + b' "'
    dialect = Dialect(delimiter, skips_space=delimiter != " " and spaced in text[: text.find(b"\n")])
    rows = [row for row in islice(read_rows(io.BytesIO(text), dialect), _LOOK) if isinstance(row, Row)]
    widths = Counter(len(row.cells) for row in rows)
    widths.pop(1, None)
    if not widths:
        return None
    width = max(widths, key=lambda width: (widths[width], width))
    at = next(index for index, row in enumerate(rows) if len(row.cells) == width)
    if len(rows[0].cells) > 1 and _known(rows[0].cells) > _known(rows[at].cells):
        at = 0  # the header is shorter or longer than the rows
    if at > _PREAMBLE:
        return None
    data = rows[at + 1 :]
    is_header = _is_header(rows[at].cells, data, clock)
    header = _distinct(rows[at].cells if is_header else [""] * width)
    data = data if is_header else rows[at:]
    plan = _plan(header, data, clock)
    same = sum(len(row.cells) == width for row in data) / len(data) if data else 1.0
    known = _known(header) if is_header else 0
    layout = Layout(
        dialect=dialect,
        header=header,
        header_line=rows[at].number + has_hint if is_header else 0,
        plan=plan,
        is_sure=_is_sure(header, data, same, is_header, known, bool(_readable(plan, header, data, clock))),
    )
    return (layout.is_sure, known, same >= 0.9, width), layout


def _is_sure(
    header: tuple[str, ...], data: list[Row], same: float, is_header: bool, known: int, has_times: bool
) -> bool:
    if not data:
        return is_header and known >= 2 and len(header) >= 3
    if is_header and known >= _CLEAR and has_times:
        return True  # also where unquoted commas make rows of any width
    if same < 0.8:
        return False
    if has_times:
        return True
    return is_header and len(header) >= 3 and (known >= 2 or (len(data) >= 3 and same == 1.0))


def _known(cells: Any) -> int:
    """Return how many well-known roles the names fill."""
    plan = plan_for(tuple(cells))
    certain = any(field.is_certain for field in plan.time)
    return certain + sum(bool(role) for role in (plan.message, plan.host, plan.user, plan.timestamp_desc))


def _is_header(cells: list[str], data: list[Row], clock: Clock) -> bool:
    """Whether cells are names: short, no values, and not found again below themselves."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if 2 * len(filled) < len(cells) or any(len(cell) > _NAME_LIMIT for cell in filled):
        return False
    if any(_is_value(cell, clock) for cell in filled):
        return False
    if _known(cells) >= _CLEAR:
        return True  # whatever stands below: "user" may be the name of a user
    data = [row for row in data if row.cells != cells]
    again = Counter(
        index
        for row in data
        for index, cell in enumerate(row.cells[: len(cells)])
        if cell and cell == cells[index]
    )
    return all(2 * count < len(data) for count in again.values())


def _is_value(cell: str, clock: Clock) -> bool:
    if not any(char.isdigit() for char in cell):
        return False
    return _is_number(cell) or clock.can_read(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _distinct(cells: list[str]) -> tuple[str, ...]:
    """Return names that differ: a second "a" is "a (2)", one without a name "column 3"."""
    written = {cell for cell in cells if cell}
    names: dict[str, None] = {}
    for number, cell in enumerate(cells, 1):
        name = cell if cell.strip() else f"column {number}"
        if name in names or (not cell.strip() and name in written):
            name = _free_name(name, names.keys() | written)
        names[name] = None
    return tuple(names)


def _free_name(name: str, taken: Any) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _plan(header: tuple[str, ...], data: list[Row], clock: Clock) -> Plan:
    """Return the plan by the names, with the columns first that hold times in the rows looked at."""
    plan = _flat(plan_for(header))
    good = _readable(plan, header, data, clock)
    if not good and data:
        named = {field.path[0] for field in plan.time}
        by_value = [
            TimeField((name,))
            for index, name in enumerate(header)
            if name not in named and _holds_times(index, data, clock)
        ]
        return replace(plan, time=(*by_value[:1], *plan.time))
    return replace(plan, time=(*good, *(field for field in plan.time if field not in good)))


def _flat(plan: Plan) -> Plan:
    """Return the plan without what would stand inside a cell."""
    roles = ("message", "headline", "host", "user")
    flat: dict[str, Any] = {
        role: tuple(path for path in getattr(plan, role) if len(path) == 1) for role in roles
    }
    return replace(plan, time=tuple(field for field in plan.time if len(field.path) == 1), **flat)


def _readable(plan: Plan, header: tuple[str, ...], data: list[Row], clock: Clock) -> list[TimeField]:
    """Return the time fields that read in the rows looked at, the best first."""
    holders: list[Mapping[str, Any]] = [dict(zip(header, row.cells, strict=False)) for row in data]
    found = []
    for field in plan.time:
        alone = replace(plan, time=(field,))
        if any(clock.read(holder, alone)[0] is not None for holder in holders):
            found.append(field)
    return found


def _holds_times(index: int, data: list[Row], clock: Clock) -> bool:
    """Whether nearly all cells of a column are times, in words or as plausible counts."""
    cells = [row.cells[index].strip() for row in data if index < len(row.cells) and row.cells[index].strip()]
    if not cells:
        return False
    good = sum(clock.can_read(cell) for cell in cells)
    return good >= 0.8 * len(cells)
