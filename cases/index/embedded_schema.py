"""The fields of the embedded index, and how an index is made and opened.

ts    timestamp in microseconds; without a value for an undated event
id64  the first 16 hexadecimal characters of the event id
x     one term a value, see `embedded_terms`
s     the shape: which fields the event has, see `embedded_shape`
m     words of the message
o     words of the other values that the message does not hold
t     three-letter sequences of the uncommon words of the message
src   the document
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tantivy import Index, Schema, SchemaBuilder, TextAnalyzerBuilder, Tokenizer

_WORDS: Final = TextAnalyzerBuilder(Tokenizer.whitespace()).build()
_TRIGRAMS: Final = TextAnalyzerBuilder(Tokenizer.ngram(3, 3)).build()


def _schema() -> Schema:
    builder = SchemaBuilder()
    builder.add_integer_field("ts", indexed=True, fast=True)
    builder.add_unsigned_field("id64", indexed=True, fast=True)
    builder.add_text_field("x", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("s", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("m", tokenizer_name="words", index_option="position")
    builder.add_text_field("o", tokenizer_name="words", index_option="position")
    builder.add_text_field("t", tokenizer_name="trigrams", index_option="basic")
    builder.add_bytes_field("src", stored=True)
    return builder.build()


SCHEMA: Final = _schema()


def create_index(directory: Path) -> Any:
    """Return a new index in an empty directory."""
    index = Index(SCHEMA, str(directory), reuse=False)
    # Tokenizers are not stored with an index: each process that writes registers its own.
    index.register_tokenizer("words", _WORDS)
    index.register_tokenizer("trigrams", _TRIGRAMS)
    return index


def open_searcher(directory: Path) -> Any:
    """Return a searcher over the index as it is now. Raises ValueError or OSError."""
    index = Index.open(str(directory))
    # A part never changes, so nothing has to be reloaded. tantivy-py starts its watching thread,
    # which looks at meta.json twice a second, all the same; it ends with the searcher.
    index.config_reader("manual")
    index.reload()
    return index.searcher()
