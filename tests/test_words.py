"""Every text of the pages can be translated, the catalogues are in step with the sources, and the reader's language is found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import polib
import pytest
from jinja2 import nodes

from samljit.views.words import TRANSLATIONS, catalogues
from tests.conftest import Mount
from tests.host import LOGIN, ORIGIN
from tests.translations import CATALOGUES, POT, make_pot

TEMPLATES = sorted(file for part in ("views", "admin") for file in (TRANSLATIONS.parent / part / "templates").rglob("*.html"))
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%%")
UNKNOWN = f"{ORIGIN}/saml/nobody/login"
_SPOKEN = ("title", "alt", "placeholder", "aria-label", "aria-description")


def test_the_template_of_the_catalogues_is_what_the_sources_hold() -> None:
    assert POT.read_text() == f"{make_pot()}\n" or POT.read_text() == str(make_pot()), "run: python -m tests.translations"


@pytest.mark.parametrize("file", CATALOGUES, ids=lambda file: file.parents[1].name)
def test_a_catalogue_translates_every_text_and_keeps_its_placeholders(file: Path) -> None:
    po, texts = polib.pofile(str(file)), {entry.msgid for entry in make_pot()}
    assert ({entry.msgid for entry in po}, [entry.msgid for entry in po if not entry.translated()]) == (texts, [])
    for entry in po:
        forms = [*entry.msgstr_plural.values()] or [entry.msgstr]
        for form in forms:
            assert sorted(PLACEHOLDER.findall(form)) == sorted(PLACEHOLDER.findall(entry.msgid_plural or entry.msgid)), form
            assert form[-1:].isalnum() == entry.msgid[-1:].isalnum(), f"ends otherwise: {form}"


# --- every text is marked ---------------------------------------------------------------------------------------------


class _Texts(HTMLParser):
    """What a page says as it stands: its text, and the attributes that people read or hear. `translate="no"` is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._untold = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("translate") == "no" or tag in ("script", "style"):
            self._untold = self._untold or tag
        self.found += [values[name] or "" for name in _SPOKEN if name in values]
        if tag == "input" and values.get("type") in ("submit", "button"):
            self.found.append(values.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._untold:
            self._untold = ""

    def handle_data(self, data: str) -> None:
        if not self._untold:
            self.found.append(data)


def unmarked(source: str) -> list[str]:
    """The words of a template that no translation could reach: in its HTML, or as plain text in its expressions."""
    environment = jinja2.Environment(autoescape=True)
    source = re.sub(r"{% block width %}.*?{% endblock %}", "", source)  # a class name
    texts = _Texts()
    texts.feed(re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL))
    said = [*texts.found, *_shown(environment.parse(source))]
    return [text.strip() for text in said if re.search(r"[^\W\d_]", text.replace("UTC", ""))]


def _shown(tree: nodes.Template) -> Iterator[str]:
    for output in tree.find_all(nodes.Output):
        for node in output.nodes:
            yield from _plain(node)


def _plain(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and " samljit-" not in node.value:
        yield node.value
    elif isinstance(node, (nodes.CondExpr, nodes.Or, nodes.And, nodes.Concat, nodes.Add)):
        skipped = node.test if isinstance(node, nodes.CondExpr) else None
        for child in node.iter_child_nodes():
            if child is not skipped:
                yield from _plain(child)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_every_word_of_a_template_is_marked_for_translation(file: Path) -> None:
    assert unmarked(file.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("<p>Hello</p>", ["Hello"], id="text"),
        pytest.param('<a title="Hello">{{ _("Go") }}</a>', ["Hello"], id="attribute"),
        pytest.param('{{ "On" if x else _("Off") }}', ["On"], id="expression"),
        pytest.param('<code translate="no">NameID</code> {{ _("Go") }} {{ name }} 12 % UTC', [], id="nothing"),
    ],
)
def test_a_word_that_is_not_marked_is_found(source: str, found: list[str]) -> None:
    assert unmarked(source) == found


# --- the reader's language --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de", "de"), ("de-AT,de;q=0.9,en;q=0.5", "de"), ("fr, de;q=0.5", "de"), ("en-GB,de;q=0.1", "en"), ("fr", "en"), ("", "en"),
        ("*", "en"), ("de;q=0", "en"), ("x" * 3000, "en"), ("\t,;;q=,", "en"),
    ],
)  # fmt: skip
def test_the_browser_says_which_language(mount: Mount, accepted: str, language: str) -> None:
    page = mount().app.test_client().get(UNKNOWN, headers={"Accept-Language": accepted})
    assert (page.status_code, re.findall(r'<html lang="(\w+)" dir="ltr">', page.text)) == (404, [language])
    title = "There is no such organisation here"
    assert (catalogues()[language].gettext(title) if language == "de" else title) in page.text


def test_a_hosts_own_words_and_language_come_first(mount: Mount) -> None:
    words = {"Try again": "Encore une fois"}
    host = mount(gettext=lambda text: words.get(text, text), locale=lambda: "fr_CA")
    page = host.app.test_client().get(f"{ORIGIN}/saml/contoso/finish", headers={"Accept-Language": "de"})
    for words_wanted in ('<html lang="fr-CA" dir="ltr">', "Encore une fois", "You are not signed in"):
        assert words_wanted in page.text


def test_a_hosts_language_alone_chooses_among_ours(mount: Mount) -> None:
    page = mount(locale=lambda: "de_AT").app.test_client().get(UNKNOWN)
    assert '<html lang="de" dir="ltr">' in page.text


def test_a_language_that_runs_from_right_to_left_says_so(mount: Mount) -> None:
    page = mount(locale=lambda: "he", gettext=lambda text: text).app.test_client().get(UNKNOWN)
    assert '<html lang="he" dir="rtl">' in page.text


def test_a_translation_of_the_host_that_fails_costs_the_translation_only(mount: Mount) -> None:
    def fail(*_: str) -> str:
        raise LookupError("no translations today")

    page = mount(locale=fail, gettext=fail).app.test_client().get(LOGIN.replace("contoso", "nobody"))
    assert (page.status_code, '<html lang="en" dir="ltr">' in page.text) == (404, True)
