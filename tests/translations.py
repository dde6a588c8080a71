"""Brings the translations in step with the sources: `python -m tests.translations`.

Writes samljit/translations/samljit.pot from every text that is marked in code and templates and from the tables whose texts the
pages show, and merges it into each samljit.po: new texts stand there untranslated, those that are gone are dropped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import polib
from babel.messages.extract import extract_from_dir

from samljit import situations
from samljit.errors import CATALOGUE, Card
from samljit.mapping import words

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "samljit"
POT = PACKAGE / "translations" / "samljit.pot"
CATALOGUES = sorted(PACKAGE.glob("translations/*/LC_MESSAGES/samljit.po"))
_METHODS = [("**.py", "python"), ("**/templates/samljit/**.html", "jinja2")]
_NOT_PAGES = ("demo/", "testing/")
_KEYWORDS: dict[str, tuple[int, ...] | None] = {"_": None, "gettext": None, "N_": None, "_n": (1, 2), "ngettext": (1, 2)}
_METADATA = {"Project-Id-Version": "samljit", "Content-Type": "text/plain; charset=UTF-8", "Content-Transfer-Encoding": "8bit"}


def make_pot() -> polib.POFile:
    """The template of all catalogues, sorted by text, each with the files that it stands in."""
    found: dict[str, polib.POEntry] = {}
    for place, message in [*_marked(), *_in_tables()]:
        text, plural = message if isinstance(message, tuple) else (message, "")
        entry = found.setdefault(text, polib.POEntry(msgid=text))
        if plural:
            entry.msgid_plural, entry.msgstr_plural = plural, {0: "", 1: ""}
        if (place, "") not in entry.occurrences:
            entry.occurrences.append((place, ""))
    pot = polib.POFile(wrapwidth=120)
    pot.metadata = dict(_METADATA)
    pot.extend(found[text] for text in sorted(found))
    return pot


def _marked() -> Iterator[tuple[str, str | tuple[str, str]]]:
    for name, _, message, *_ in extract_from_dir(PACKAGE, _METHODS, keywords=_KEYWORDS):
        if not name.startswith(_NOT_PAGES) and message:
            yield f"samljit/{name}", message if isinstance(message, str) else (message[0], message[1])


def _in_tables() -> Iterator[tuple[str, str]]:
    for situation in vars(situations).values():
        if isinstance(situation, situations.Situation):
            for text in (situation.title, situation.text, situation.next_step):
                yield "samljit/situations.py", text
    for row in CATALOGUE.values():
        yield "samljit/errors.py", row.admin
    for card in Card:
        yield "samljit/errors.py", card.value
    for text in words.texts():
        yield "samljit/mapping/words.py", text


def merge(pot: polib.POFile, catalogue: Path) -> None:
    po = polib.pofile(str(catalogue), wrapwidth=120)
    po.merge(pot)
    kept = {entry.msgid: entry for entry in po if not entry.obsolete}
    del po[:]
    po.extend(kept[text] for text in sorted(kept))
    po.save()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, prog="python -m tests.translations").parse_args()
    pot = make_pot()
    pot.save(str(POT))
    for catalogue in CATALOGUES:
        merge(pot, catalogue)
        missing = polib.pofile(str(catalogue)).untranslated_entries()
        print(f"{catalogue.relative_to(ROOT)}: {len(pot)} texts, {len(missing)} to translate")


if __name__ == "__main__":
    main()
