"""The words of the pages in the reader's language.

English is in the code. Translations are gettext catalogues, `translations/<language>/LC_MESSAGES/samljit.po`, read as they stand:
nothing has to be compiled. A host with translations of its own is asked first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any

import polib
from flask import has_request_context, request
from markupsafe import Markup, escape

from samljit.views.mounted import mounted

log = logging.getLogger("samljit")

TRANSLATIONS = Path(__file__).parent.parent / "translations"
DOMAIN = "samljit"
SOURCE = "en"
_RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})


def gettext(message: str, **values: Any) -> str:
    """`message` in the reader's language, with `values` for its %(names)s; as it is where nobody has translated it.

    Where one of the values is Markup so is the result, and all that is not is escaped.
    """
    return _fill(_translate(message), values)


def ngettext(singular: str, plural: str, number: int, **values: Any) -> str:
    """The form for this number, with `number` and `values` in it; as `gettext` else."""
    return _fill(_catalogue().ngettext(singular, plural, number), {"number": number, **values})


def N_(message: str) -> str:
    """`message` itself: marks it for the catalogues where it stands, to be given to `gettext` where it is shown."""
    return message


def language() -> str:
    """The tag of the language that the page is in (BCP 47), for its `lang`: as the host says where it translates, else one of ours."""
    mount = mounted()
    asked = _host_language()
    return asked if asked and mount.gettext else _ours(asked)


def page_words() -> dict[str, Any]:
    """What every template needs to speak to its reader."""
    spoken = language()
    direction = "rtl" if spoken.partition("-")[0].lower() in _RIGHT_TO_LEFT else "ltr"
    return {"_": gettext, "_n": ngettext, "language": spoken, "direction": direction}


@cache
def catalogues() -> Mapping[str, GNUTranslations]:
    """Our translations by language tag. Read once."""
    files = sorted(TRANSLATIONS.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
    return {file.parents[1].name.replace("_", "-"): GNUTranslations(BytesIO(polib.pofile(str(file)).to_binary())) for file in files}


def _translate(message: str) -> str:
    if not message:  # which is a catalogue's own head
        return message
    own = mounted().gettext
    translated = _ask_host(own, message) if own is not None else message
    return translated if translated not in (None, message) else _catalogue().gettext(message)


def _catalogue() -> NullTranslations:
    return catalogues().get(_ours(_host_language())) or NullTranslations()


def _host_language() -> str | None:
    """What the host's `locale` says, be it text or an object of Babel's."""
    locale = mounted().locale
    found = _ask_host(locale) if locale is not None else None
    return found.replace("_", "-") if found else None


def _ask_host(function: Callable[..., Any], *arguments: str) -> str | None:
    """What the host's function says, None also where it fails: the page that tells of a lost database needs words too."""
    try:
        found = function(*arguments)
    except Exception:
        log.exception("the host's translation failed")
        return None
    return str(found) if found else None


def _ours(asked: str | None) -> str:
    """The language among ours that comes nearest to what was asked for, by the host or by the browser (Accept-Language)."""
    if asked:
        return _match(asked) or SOURCE
    # each in the reader's order: werkzeug's best_match would take a "de" that comes last before an "en-GB" that comes first
    accepted = request.accept_languages if has_request_context() else ()
    return next((match for tag, quality in accepted if quality > 0 and (match := _match(tag))), SOURCE)


@lru_cache(maxsize=1000)
def _match(tag: str) -> str | None:
    ours = {name.lower(): name for name in (SOURCE, *catalogues())}
    return ours.get(tag.lower()) or ours.get(tag.lower().partition("-")[0])


def _fill(text: str, values: Mapping[str, Any]) -> str:
    if not values:
        return text
    return (escape(text) if any(isinstance(value, Markup) for value in values.values()) else text) % values
