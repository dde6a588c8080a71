"""Set up, in three steps: our values for Entra, Entra's values for us, and a look at what was read before any of it is saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import Response, request
from flask_wtf.file import FileField
from itsdangerous import BadSignature
from wtforms import StringField, TextAreaField

from samljit.admin.connection.reading import Given, Reading, names_directory, read_given
from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.told import told_problem
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.errors import Problem
from samljit.model import AdminAction, IdentityProvider
from samljit.saml.idp_metadata import LARGEST_METADATA
from samljit.sql.identities import SqlIdentities
from samljit.sql.stored import StaleEdit, StoredTenant
from samljit.views.mounted import app_secrets, mounted
from samljit.views.words import N_, gettext

_NOTHING_GIVEN = N_("Give us Entra's values in one of the three ways.")
_TWO_WAYS = N_("Give us Entra's values in one way only, and leave the others empty.")
_NO_DIRECTORY = N_("Enter the Tenant ID from the Overview page of Microsoft Entra ID.")
_TOO_LARGE = N_("This file is too large to be the metadata of one app.")
_SAVED = N_("Saved in the draft. Nobody signs in differently yet: try it with a test sign-in first, then make it live.")
_SAME = N_("This is what sign-ins go by already. Nothing was changed.")

_FETCHED_SECONDS = 3600

# where a problem of reading shows, and, of the document as a whole, by the first key of its path
_FIELD_OF = {"url": "metadata_url", "xml": "metadata_file", "idp": "metadata_url"}


class ConnectForm(AdminForm):
    """Entra's values, given in one of three ways. `metadata` carries what was read on to the last step, and `fetched` the proof
    that it was found at the address."""

    metadata_url = StringField(N_("App Federation Metadata Url"))
    metadata_file = FileField(N_("Federation Metadata XML"))
    entity_id = StringField(N_("Microsoft Entra Identifier"))
    sso_url = StringField(N_("Login URL"))
    slo_url = StringField(N_("Logout URL"))
    certificate_file = FileField(N_("Certificate (Base64)"))
    certificates = TextAreaField(N_("Certificate (Base64), as text"))
    metadata = TextAreaField()
    fetched = StringField()
    entra_tenant_id = StringField(N_("Tenant ID"))

    def given(self) -> Given | None:
        """What was given; None, with an error at its field, where it is nothing, or more than one way."""
        xml = self.metadata_file.data.read(LARGEST_METADATA + 1) if self.metadata_file.data else b""
        certificate = self.certificate_file.data.read(LARGEST_METADATA + 1) if self.certificate_file.data else b""
        if max(len(xml), len(certificate)) > LARGEST_METADATA:
            self.metadata_file.errors = [_TOO_LARGE]
            return None
        typed = {name: (self[name].data or "").strip() for name in ("entity_id", "sso_url", "slo_url")}
        certificate = certificate or (self.certificates.data or "").strip().encode()
        url = (self.metadata_url.data or "").strip()
        ways = [bool(url), bool(xml), bool(certificate or any(typed.values()))]
        if sum(ways) != 1:
            self.metadata_url.errors = [_TWO_WAYS if any(ways) else _NOTHING_GIVEN]
            return None
        return Given(url=url, xml=xml, certificates=certificate, **typed)

    def carried(self, tenant_id: UUID) -> Given:
        """What was read in the step before, and is confirmed now.

        Where it is said to be of an address, but was not found there by us, it is left out: keys that somebody wrote would go live under
        an address that whoever makes them live trusts.
        """
        values = {name: (self[name].data or "").strip() for name in ("entity_id", "sso_url", "slo_url")}
        # browsers send the lines of a form with CRLF
        xml, certificates = (str(self[name].data or "").replace("\r\n", "\n").encode() for name in ("metadata", "certificates"))
        url = (self.metadata_url.data or "").strip()
        if url and not _was_fetched(self.fetched.data or "", _found(tenant_id, url, xml.decode())):
            xml = b""
        return Given(url=url, xml=xml, certificates=certificates, **values)

    def show(self, problems: list[Problem]) -> None:
        """Puts each problem that is more than a warning at its field."""
        for problem in problems:
            if not problem.is_warning:
                name = _FIELD_OF.get(problem.path, problem.path)
                field = self._fields.get(name, self.metadata_url)
                field.errors = [*field.errors, told_problem(problem)]


@admin_view(AdminAction.VIEW, sent=AdminAction.EDIT)
def setup(visit: Visit) -> Response:
    """The first two steps; sent with Entra's values, the third one."""
    form = ConnectForm()
    if form.is_sent(visit):
        given = form.given()
        reading = _read(given, visit) if given else []
        if isinstance(reading, Reading):
            return _confirm(visit, _carrying(reading, visit, seen=form.seen.data), reading)
        form.show(reading)
    return _show(visit, form)


@admin_view(AdminAction.EDIT)
def setup_check(visit: Visit) -> Response:
    """The third step: what was read is saved in the draft."""
    if request.method != "POST":  # the address was opened again
        return see_other(visit.url("setup"))
    form = ConnectForm()
    is_good = form.is_sent(visit)
    stored = visit.get_stored()
    given = form.carried(stored.id)
    if not is_good and given.url and not given.xml:  # nobody's forged form has us ask at an address
        return _show(visit, form)
    reading = _read(given, visit)
    if not isinstance(reading, Reading):  # it was good a step ago: its certificate or its directory may be another one's by now
        form.show(reading)
        return _show(visit, form)
    if given.url and not given.xml:  # fetched only now: to be looked at
        return _confirm(visit, _carrying(reading, visit, seen=form.seen.data), reading)
    if not is_good:
        return _confirm(visit, form, reading)
    document, problems = _document(stored, reading, form, visit)
    if problems:
        form.show(problems)
        return _confirm(visit, form, reading)
    if _is_known(document, reading, stored, visit):
        return done(visit.url("setup"), gettext(_SAME))
    try:
        fetched = (reading.metadata, reading.given.url) if reading.given.url else None
        patch = {**(stored.draft or {}), **document}
        patch = {key: value for key, value in patch.items() if stored.live.get(key) != value}
        mounted().directory.rows.save_draft(stored, patch or None, author=visit.author, metadata=fetched)
    except StaleEdit:
        form.show_changes(mounted().directory.rows.get_stored(stored.slug))
        return _confirm(visit, form, reading)
    return done(visit.url("setup"), gettext(_SAVED))


def _is_known(document: Mapping[str, Any], reading: Reading, stored: StoredTenant, visit: Visit) -> bool:
    """Whether the document says this already. Entra signs its metadata anew each time it is downloaded: what it says counts."""
    here = stored.drafted
    if any(here.get(key) != value for key, value in document.items() if key != "idp"):
        return False
    known = here.get("idp") or {}
    if known == document["idp"]:
        return True
    idp = find_drafted_idp(stored, visit) if "idp" in (stored.draft or {}) else visit.tenant.idp
    return known.keys() == document["idp"].keys() == {"metadata"} and idp is not None and _told(idp) == _told(reading.provider)


def _told(idp: IdentityProvider) -> tuple[Any, ...]:
    """What an IdP's metadata says; certificates stand there in no order that means anything."""
    return idp.entity_id, idp.sso_url, idp.slo_url, idp.valid_until, {one.fingerprint for one in idp.certificates}


def find_drafted_idp(stored: StoredTenant, visit: Visit) -> IdentityProvider | None:
    """The IdP that the draft names, None where the draft names none, or none that can be used. What else is in it does not matter."""
    draft = {key: value for key, value in (stored.draft or {}).items() if key in ("idp", "entra_tenant_id", "preset")}
    tenant = mounted().directory.find_drafted(stored, draft=draft, now=visit.now)[0] if "idp" in draft else None
    return tenant.idp if tenant else None


def _read(given: Given, visit: Visit) -> Reading | list[Problem]:
    preset = visit.get_stored().drafted.get("preset", visit.tenant.preset)
    return read_given(given, preset=preset, settings=mounted().settings, now=visit.now)


def _document(
    stored: StoredTenant, reading: Reading, form: ConnectForm, visit: Visit
) -> tuple[Mapping[str, Any], list[Problem]]:
    """The keys of the tenant's document that this changes, and what is wrong with them there."""
    document: dict[str, Any] = {"idp": dict(reading.idp)}
    drafted = stored.drafted
    if names_directory(drafted.get("preset", visit.tenant.preset)):
        document["entra_tenant_id"] = (reading.directory or (form.entra_tenant_id.data or "").strip()).lower()
    _, problems = mounted().directory.check_stored(stored.slug, {**drafted, **document}, now=visit.now)
    about = [problem for problem in problems if problem.path.startswith(("$.idp", "$.entra_tenant_id"))]
    return document, [_placed(problem) for problem in about if not problem.is_warning]


def _placed(problem: Problem) -> Problem:
    if problem.path.startswith("$.entra_tenant_id"):
        return replace(problem, path="entra_tenant_id", code="no_directory")
    return replace(problem, path="idp")


def _carrying(reading: Reading, visit: Visit, *, seen: str) -> ConnectForm:
    """The form of the last step, with what was read in it."""
    given = reading.given
    certificates = "".join(reading.idp.get("certificates", ()))
    values = {"metadata_url": given.url, "entity_id": given.entity_id, "sso_url": given.sso_url, "slo_url": given.slo_url}
    directory = visit.get_stored().drafted.get("entra_tenant_id", "")
    values |= {"certificates": certificates, "metadata": reading.metadata, "entra_tenant_id": directory, "seen": seen}
    if given.url:
        token = app_secrets().fetched.dumps(_found(visit.get_stored().id, given.url, reading.metadata))
        values["fetched"] = token if isinstance(token, str) else token.decode()
    return ConnectForm(formdata=None, data=values)


def _found(tenant_id: UUID, url: str, metadata: str) -> list[str]:
    """What stood at an address, as a token names it. Browsers send line ends in a form of their own."""
    lines = metadata.replace("\r\n", "\n").replace("\r", "\n")
    return [str(tenant_id), url, sha256(lines.encode()).hexdigest()]


def _was_fetched(token: str, found: list[str]) -> bool:
    try:
        return bool(app_secrets().fetched.loads(token, max_age=_FETCHED_SECONDS) == found)
    except BadSignature:
        return False


def _confirm(visit: Visit, form: ConnectForm, reading: Reading) -> Response:
    live = visit.tenant.idp
    people = 0
    if live is not None and live.entity_id != reading.provider.entity_id:
        mount = mounted()
        counts = SqlIdentities(factory=mount.factory, users=mount.users).count_by_issuer()
        people = counts.get((visit.tenant.id, live.entity_id), 0)
    return admin_page(
        visit,
        "setup_check.html",
        section="setup",
        form=form,
        reading=reading,
        warnings=list(_told_warnings(reading.problems)),
        asks_directory=reading.directory is None and names_directory(visit.tenant.preset),
        people=people,
        live=live,
    )


def _told_warnings(problems: Iterable[Problem]) -> Iterator[str]:
    """Each kind once. Where no certificate is in date, it goes without saying that one has expired."""
    by_code = {problem.code: problem for problem in problems}
    if "no_certificate_in_date" in by_code:
        by_code.pop("certificate_expired", None)
    return map(told_problem, by_code.values())


def _show(visit: Visit, form: ConnectForm) -> Response:
    stored = visit.stored
    return admin_page(
        visit,
        "setup.html",
        section="setup",
        form=form,
        drafted=find_drafted_idp(stored, visit) if stored else None,
        has_draft="idp" in (stored.draft or {}) if stored else False,
        may_edit=visit.may(AdminAction.EDIT),
    )
