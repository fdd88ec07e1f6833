"""Where text names what was erased: the same question to Postgres (`store.erasure`) and, here, to Python."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

SHA256 = "[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What to look for."""

    names: frozenset[str] = frozenset()
    """Found as whole words, anywhere in a text: ids and keys as they were given. A name of digits only is found only as
    a whole string: numbers abound."""
    strings: frozenset[str] = frozenset()
    """Found as whole strings, however many: keys of objects."""
    hashes: frozenset[str] = frozenset()
    """Found anywhere: SHA-256, lower-case hexadecimal."""

    @property
    def words(self) -> dict[str, str]:
        """Each spelling of a name -> regular expression for it as a word, in the syntax of Postgres and Python."""
        spellings = {spelling for name in self.names if not name.isdigit() for spelling in _spellings(name)}
        # A full stop ends a word, unless the word goes on behind it: `a.jpg` is not in `a.jpg.bak`.
        return {spelling: rf"(?<![\w./-]){_escaped(spelling)}(?![\w/-]|\.\w)" for spelling in sorted(spellings)}

    @property
    def whole(self) -> list[str]:
        """Every whole string to look for between the quotes of a JSON text that was rid of its backslashes: so it is
        found also in a JSON text that is a string inside another."""
        terms = self.names | self.strings
        return sorted({spelling.replace("\\", "") for term in terms for spelling in _spellings(term)})

    def found_in(self, text: str) -> bool:
        return (
            any(re.search(word, text) for word in self.words.values())
            or not set(self.whole).isdisjoint(text.replace("\\", "").split('"'))
            or not self.hashes.isdisjoint(re.findall(SHA256, text))
        )


def _spellings(term: str) -> set[str]:
    """As it is, and as JSON writes it."""
    return {term, json.dumps(term)[1:-1], json.dumps(term, ensure_ascii=False)[1:-1]}


def _escaped(term: str) -> str:
    """Every character but letters, digits and spaces escaped, which Postgres and Python both read as itself."""
    return re.sub(r"([^\w\s])", r"\\\1", term)
