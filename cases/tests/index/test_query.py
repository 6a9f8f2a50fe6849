"""The query language: what each form becomes, and where and how the rest is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cases.index.query import QueryError, parse
from cases.index.times import read_time
from cases.index.tree import (
    ANY,
    COMMENT,
    MESSAGE,
    ONE,
    SCORE,
    TAGS,
    TIMESTAMP,
    And,
    Annotated,
    Equals,
    Everything,
    Exists,
    Field,
    Fuzzy,
    Node,
    Not,
    NumberRange,
    Or,
    Pattern,
    Regex,
    TimeRange,
    Wildcard,
    Words,
)

HOST = Field("host")


def attribute(name: str) -> Field:
    return Field(name, attribute=True)


def bare(*texts: str) -> list[Node]:
    return [Words(text) for text in texts]


A, B, C, D = bare("a", "b", "c", "d")


def refusal(text: str) -> QueryError:
    """The error a query is refused with."""
    with pytest.raises(QueryError) as caught:
        parse(text)
    return caught.value


# Words and phrases


@pytest.mark.parametrize(
    "text", ["word", "4624", "evil.exe", "don't", "a-b", "a/b", "50%", "x=1&y=2", "été", "木"]
)
def test_an_unquoted_text_is_a_phrase_of_its_words(text: str) -> None:
    assert parse(text) == Words(text)


@pytest.mark.parametrize("text", ["and", "or", "not", "to", "And", "ANDROID", "NOTE", "TOR"])
def test_operators_are_upper_case_and_whole_words(text: str) -> None:
    assert parse(text) == Words(text)


def test_inside_quotes_only_the_quote_and_the_backslash_are_escaped() -> None:
    assert parse(r'"C:\Windows\Temp"') == Words(r"C:\Windows\Temp")
    assert parse(r'"say \"hi\" \\ \n a:b (c) [d] AND *?"') == Words(r'say "hi" \ \n a:b (c) [d] AND *?')


def test_a_phrase_may_allow_words_in_between() -> None:
    assert parse('"two words"~3') == Words("two words", slop=3)
    assert parse('"two words"~0') == Words("two words")
    assert parse('message:"two words"~12') == Words("two words", MESSAGE, 12)


def test_the_message_is_searched_for_words() -> None:
    assert parse("message:evil.exe") == Words("evil.exe", MESSAGE)
    assert parse('message:"two words"') == Words("two words", MESSAGE)


@pytest.mark.parametrize("text", ["😀", '"--- !"', "...", '" "', "message:😀", "\\*", "\ud800", "\x00", "©"])
def test_a_text_without_letter_or_digit_is_refused_with_the_hint_to_use_a_pattern(text: str) -> None:
    error = refusal(text)
    assert "pattern" in error.message
    assert error.at == (8 if text.startswith("message") else 0)


def test_the_pattern_of_the_hint_parses_and_looks_for_the_same_signs() -> None:
    for signs in ("😀", "--- !", '"[]"', "a\\b"[1:2], "*?"):
        quoted = '"' + signs.replace("\\", "\\\\").replace('"', '\\"') + '"'
        hint = refusal(quoted).message.rpartition(": ")[2]
        node = parse(hint)
        assert isinstance(node, Pattern)
        assert node.parts == (ANY, signs, ANY)


def test_empty_quotes_are_a_value_but_no_word() -> None:
    assert parse('host:""') == Equals(HOST, "")
    assert "nothing between" in refusal('""').message
    assert "nothing between" in refusal('a message:""').message


# Fields


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("host:web-01", HOST, "web-01"),
        ("event_id:ab12", Field("event_id"), "ab12"),
        ("source:evtx", Field("source"), "evtx"),
        ("tags:x", TAGS, "x"),
        ("score:7.5", SCORE, "7.5"),
        ("Host:x", attribute("Host"), "x"),  # the artefact's own spelling
        ("attributes.Channel:Security", attribute("Channel"), "Security"),
        ("Channel:Security", attribute("Channel"), "Security"),
        ("attributes.host:x", attribute("host"), "x"),
        ("attributes.attributes.x:y", attribute("attributes.x"), "y"),
        ('attributes."Event.Data":x', attribute("Event.Data"), "x"),
        ("attributes.Event.Data:x", attribute("Event.Data"), "x"),
        ('"Event Data":x', attribute("Event Data"), "x"),
        ('Event."Data One".Name:x', attribute("Event.Data One.Name"), "x"),
        ('"cs(User-Agent)":x', attribute("cs(User-Agent)"), "x"),
        (r"cs\(User-Agent\):x", attribute("cs(User-Agent)"), "x"),
        (r"Logon\ Type:3", attribute("Logon Type"), "3"),
        ("@version:1", attribute("@version"), "1"),
        ("cs-method:GET", attribute("cs-method"), "GET"),
        ("Größe:1", attribute("Größe"), "1"),
        ('"host":x', HOST, "x"),
        ("AND:x", attribute("AND"), "x"),
        ("EventID:04624.0", attribute("EventID"), "04624.0"),
        ("x:-5", attribute("x"), "-5"),
        ("x:+49", attribute("x"), "+49"),
        ("x:a/b+c-d!e=f&g<h>i", attribute("x"), "a/b+c-d!e=f&g<h>i"),
        ('x:"*"', attribute("x"), "*"),
        (r"x:\*", attribute("x"), "*"),
        (r"x:a\:b\ c\\d", attribute("x"), r"a:b c\d"),
        ("x: a", attribute("x"), "a"),
        ('x:"OR"', attribute("x"), "OR"),
        ("x:or", attribute("x"), "or"),
        ("x:a\x00b", attribute("x"), "a\x00b"),
        ("x:\ud800", attribute("x"), "\ud800"),
        ("x:１２", attribute("x"), "１２"),  # full-width digits
    ],
)
def test_a_named_value_is_compared_whole(text: str, field: Field, value: str) -> None:
    assert parse(text) == Equals(field, value)


def test_a_field_takes_a_query_of_values_in_brackets() -> None:
    host = [Equals(HOST, name) for name in "abc"]
    assert parse("host:(a OR b)") == Or((host[0], host[1]))
    assert parse("host:(a b -c)") == And((host[0], host[1], Not(host[2])))
    assert parse("host:((a OR b) AND NOT c)") == And((Or((host[0], host[1])), Not(host[2])))
    assert parse("message:(a OR b)") == Or((Words("a", MESSAGE), Words("b", MESSAGE)))
    assert parse("x:(>=5 OR /a/ OR b* OR [1 TO 2])") == Or(
        (
            NumberRange(attribute("x"), Decimal(5), None),
            Regex(attribute("x"), "a"),
            Pattern(attribute("x"), ("b", ANY)),
            NumberRange(attribute("x"), Decimal(1), Decimal(2)),
        )
    )


def test_after_the_brackets_of_a_field_words_are_bare_again() -> None:
    assert parse("host:(a) b") == And((Equals(HOST, "a"), B))


def test_the_minus_belongs_to_the_value_after_a_colon_and_negates_in_brackets() -> None:
    assert parse("x:-5") == Equals(attribute("x"), "-5")
    assert parse("x:(-5)") == Not(Equals(attribute("x"), "5"))
    assert parse("-x:5") == Not(Equals(attribute("x"), "5"))


# Operators


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a && b", And((A, B))),
        ("a\tb\nc", And((A, B, C))),
        ("a\u3000b\u00a0c", And((A, B, C))),
        ("a OR b", Or((A, B))),
        ("a || b", Or((A, B))),
        ("a||b", Or((A, B))),
        ("a OR b AND c", Or((A, And((B, C))))),
        ("a AND b OR c", Or((And((A, B)), C))),
        ("a b OR c d", Or((And((A, B)), And((C, D))))),
        ("(a OR b) AND c", And((Or((A, B)), C))),
        ("(a OR b) c", And((Or((A, B)), C))),
        ("(a)(b)", And((A, B))),
        ("NOT a b", And((Not(A), B))),
        ("NOT a OR b", Or((Not(A), B))),
        ("NOT (a b)", Not(And((A, B)))),
        ("NOT(a)", Not(A)),
        ("a AND NOT b", And((A, Not(B)))),
        ("a OR NOT b", Or((A, Not(B)))),
        ("!a", Not(A)),
        ("! a", Not(A)),
        ("a !b", And((A, Not(B)))),
        ("-a", Not(A)),
        ("-a -b", And((Not(A), Not(B)))),
        ("+a", A),
        ("+a -b", And((A, Not(B)))),
        ("a -b OR c", Or((And((A, Not(B))), C))),
        ("+a OR -b", Or((A, Not(B)))),
        ("-(a OR b)", Not(Or((A, B)))),
        ("--a", A),
        ("NOT NOT a", A),
        ("NOT NOT NOT a", Not(A)),
        ("NOT -a", A),
        ("-NOT a", A),
        ("+-a", Not(A)),
        ("((a))", A),
        ("( a )", A),
        ("a AND(b OR c)", And((A, Or((B, C))))),
    ],
)
def test_operators_bind_as_documented(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize("text", ["", " ", "\n\t", "*", " * ", "**", "(*)"])
def test_nothing_and_the_star_are_every_event(text: str) -> None:
    assert parse(text) == Everything()


# Ranges


@pytest.mark.parametrize(
    ("text", "lower", "upper", "inclusive"),
    [
        ("[1 TO 5]", "1", "5", (True, True)),
        ("{1 TO 5}", "1", "5", (False, False)),
        ("[1 TO 5}", "1", "5", (True, False)),
        ("{1 TO 5]", "1", "5", (False, True)),
        ("[* TO 5]", None, "5", (True, True)),
        ("[1 TO *]", "1", None, (True, True)),
        ("[* TO *]", None, None, (True, True)),
        ("[ -5  TO\t-0.5 ]", "-5", "-0.5", (True, True)),
        ("[5 TO 1]", "5", "1", (True, True)),
        (">5", "5", None, (False, True)),
        (">=5", "5", None, (True, True)),
        ("<5", None, "5", (True, False)),
        ("<=-5.50", None, "-5.5", (True, True)),
        (">=007", "7", None, (True, True)),
    ],
)
@pytest.mark.parametrize("name", ["score", "attributes.Size", "Size"])
def test_numbers_are_asked_for_by_ranges(
    name: str, text: str, lower: str | None, upper: str | None, inclusive: tuple[bool, bool]
) -> None:
    field = SCORE if name == "score" else attribute("Size")
    low, high = (None if bound is None else Decimal(bound) for bound in (lower, upper))
    assert parse(f"{name}:{text}") == NumberRange(field, low, high, *inclusive)


MARCH, MARCH_END = read_time("2024-03-01")
NINE, _ = read_time("2024-03-01T09:00:00Z")


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [
        ("2024-03-01", MARCH, MARCH_END),  # the whole day
        ('"2024-03-01T09:00:00Z"', NINE, NINE),
        (r"2024-03-01T09\:00\:00Z", NINE, NINE),
        ('"2024-03-01T10:00:00+01:00"', NINE, NINE),
        ("[2024-03-01 TO 2024-03-01]", MARCH, MARCH_END),
        ("[2024-03-01 TO 2024-03-01}", MARCH, MARCH - 1),
        ("{2024-03-01 TO *]", MARCH + 1, None),
        ("[* TO 2024-03-01T09:00:00Z}", None, NINE - 1),
        ("[* TO *]", None, None),
        (">2024-03-01", MARCH + 1, None),
        (">=2024-03-01", MARCH, None),
        ("<2024-03-01", None, MARCH - 1),
        ("<=2024-03-01", None, MARCH_END),
        ("<=2024-03-01T10:00:00+01:00", None, NINE),
    ],
)
def test_times_are_asked_for_by_dates_and_ranges(text: str, lower: int | None, upper: int | None) -> None:
    assert parse(f"timestamp:{text}") == TimeRange(lower, upper)


def test_several_days_may_be_alternatives() -> None:
    assert parse("timestamp:(2024-03-01 OR <1970-01-01)") == Or(
        (TimeRange(MARCH, MARCH_END), TimeRange(None, -1))
    )


# Patterns, expressions, edits


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pow*", ("pow", ANY)),
        ("*.exe", (ANY, ".exe")),
        ("te?t", ("te", ONE, "t")),
        (r"*\\Temp\\*.exe", (ANY, "\\Temp\\", ANY, ".exe")),
        (r"\**", ("*", ANY)),
        (r"a\?b?", ("a?b", ONE)),
        ("a**b", ("a", ANY, "b")),
        ("?*", (ONE, ANY)),
        ("*😀*", (ANY, "😀", ANY)),
    ],
)
def test_wildcards_make_a_pattern_of_the_message_or_of_an_exact_field(
    text: str, parts: tuple[str | Wildcard, ...]
) -> None:
    assert parse(text) == Pattern(MESSAGE, parts)
    assert parse(f"message:{text}") == Pattern(MESSAGE, parts)
    assert parse(f"host:{text}") == Pattern(HOST, parts)
    assert parse(f"Image:{text}") == Pattern(attribute("Image"), parts)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("/reg[ex]+/", "reg[ex]+"),
        ("/a b/", "a b"),
        (r"/web-\d+/", r"web-\d+"),
        (r"/a\/b/", "a/b"),
        (r"/\\\/\//", r"\\//"),
        ('/"(x) AND [y]:/', '"(x) AND [y]:'),
        ("/a|b/", "a|b"),
    ],
)
def test_slashes_make_an_expression(text: str, source: str) -> None:
    assert parse(text) == Regex(MESSAGE, source)
    assert parse(f"({text})") == Regex(MESSAGE, source)
    assert parse(f"host:{text}") == Regex(HOST, source)
    assert parse(f"-{text} a") == And((Not(Regex(MESSAGE, source)), A))


def test_edits_follow_one_word_of_the_message() -> None:
    assert parse("term~") == Fuzzy("term", 2)
    assert parse("term~1") == Fuzzy("term", 1)
    assert parse("message:term~2") == Fuzzy("term", 2)
    assert parse("message:(a OR Größe~1)") == Or((Words("a", MESSAGE), Fuzzy("Größe", 1)))


# Existence and annotations


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("_exists_:user", Field("user")),
        ("user:*", Field("user")),
        ("_exists_:message", MESSAGE),
        ("message:*", MESSAGE),
        ("_exists_:timestamp", TIMESTAMP),
        ("timestamp:*", TIMESTAMP),
        ("_exists_:score", SCORE),
        ("_exists_:LogonType", attribute("LogonType")),
        ("_exists_:attributes.LogonType", attribute("LogonType")),
        ('_exists_:"Logon Type"', attribute("Logon Type")),
        ('_exists_:attributes."Event Data".Name', attribute("Event Data.Name")),
        ("LogonType:*", attribute("LogonType")),
    ],
)
def test_a_field_is_asked_whether_it_has_a_value(text: str, field: Field) -> None:
    assert parse(text) == Exists(field)


def test_what_people_added_is_left_to_the_search() -> None:
    starred = Annotated("starred", Everything())
    assert parse("tag:x") == Annotated("tag", Equals(TAGS, "x"))
    assert parse("tag:lateral*") == Annotated("tag", Pattern(TAGS, ("lateral", ANY)))
    assert parse("_exists_:tag") == parse("tag:*") == Annotated("tag", Exists(TAGS))
    assert parse("starred:true") == starred
    assert parse("starred:false") == parse("NOT starred:true") == Not(starred)
    assert parse("comment:word") == Annotated("comment", Words("word", COMMENT))
    assert parse('comment:"two words"~2') == Annotated("comment", Words("two words", COMMENT, 2))
    assert parse("_exists_:comment") == Annotated("comment", Exists(COMMENT))
    assert parse("attributes.tag:x") == Equals(attribute("tag"), "x")
