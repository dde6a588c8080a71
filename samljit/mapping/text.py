"""What a claim's text becomes before anything else looks at it: trimmed, NFC, nothing invisible in it (trust: 33)."""

from __future__ import annotations

import re
import unicodedata

# shown as nothing although Unicode calls them marks, letters or symbols (DerivedCoreProperties, Default_Ignorable_Code_Point,
# and the Braille blank)
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_VIRAMA = 9  # canonical combining class
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def clean(text: str) -> str:
    """The text in NFC, trimmed, line ends and tabs as spaces, without control, zero-width and bidi characters."""
    if text.isascii() and text.isprintable():  # most values: nothing in them is any of these
        return text.strip()
    spaced = "".join(" " if char.isspace() else char for char in unicodedata.normalize("NFC", text))
    kept = "".join(char for index, char in enumerate(spaced) if _is_visible(spaced, index))
    # what was taken out may have kept a letter and its accent apart
    return unicodedata.normalize("NFC", kept).strip()


def is_guid(text: str) -> bool:
    """Whether the text has the form of an Entra object id, in either case."""
    return _GUID.fullmatch(text) is not None


def value_key(text: str) -> str:
    """The one form in which a claim's value and a value of the document are compared: clean, an object id in lower case.

    Anything else keeps its case: app roles and group names that differ in it are different ones.
    """
    cleaned = clean(text)
    return cleaned.lower() if is_guid(cleaned) else cleaned


def _is_visible(text: str, index: int) -> bool:
    char = text[index]
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    if char in (_NON_JOINER, _JOINER):
        return _spells(char, before=before, after=after)
    if _is_variation_selector(char):
        # Japanese family names are told apart by them; after a letter they choose its shape, elsewhere they only hide
        return before not in _BLANK_LETTERS and unicodedata.category(before or " ")[0] in "LS"
    # Cc control; Cf bidi, zero-width, tags; Cs half of a surrogate pair, which no database takes
    return char not in _BLANK_LETTERS and unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def _spells(joiner: str, *, before: str, after: str) -> bool:
    """Whether a joiner belongs to the spelling, as in Persian and Sinhala names, and does not just hide in a word.

    RFC 5892, appendices A.1 and A.2: after a virama; a non-joiner also between letters that join, which is taken here as
    between two Arabic ones.
    """
    if not before or not after:
        return False
    is_between_arabic = unicodedata.bidirectional(before) == "AL" == unicodedata.bidirectional(after)
    return unicodedata.combining(before) == _VIRAMA or (joiner == _NON_JOINER and is_between_arabic)


def _is_variation_selector(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
