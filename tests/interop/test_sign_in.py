"""Sign-ins with SimpleSAMLphp, over HTTP: what it sends in the many ways it can be set up, and what somebody else made of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from samljit.testing import Form, signing_key
from tests.host import key_files
from tests.interop.app import GENERIC, ORIGIN, X500, Connect, Connected
from tests.interop.idp import GROUP_A, GROUP_B, Idp

RSA = "http://www.w3.org/2001/04/xmldsig-more#rsa-"
FORMATS = "urn:oasis:names:tc:SAML:{}:nameid-format:{}"
SIGN: dict[str, dict[str, bool]] = {
    "assertion": {"saml20.sign.assertion": True, "saml20.sign.response": False},
    "response": {"saml20.sign.assertion": False, "saml20.sign.response": True},
    "both": {"saml20.sign.assertion": True, "saml20.sign.response": True},
}
ENCRYPT = {"assertion.encryption": True}

ALICE = {
    "id": 1,
    "email": "alice@contoso.example",
    "first_name": "Alice",
    "last_name": "Ångström",
    "display_name": "Alice Ångström",
    "departments": [GROUP_A, GROUP_B],
    "is_admin": False,
    "active": True,
}
BOB = {
    "id": 1,
    "email": "bob.oneil@contoso.example",
    "first_name": "Bob",
    "last_name": "O'Neil",
    "display_name": "Bob O'Neil & <Sons>",
    "departments": [GROUP_B],
    "is_admin": False,
    "active": True,
}


def message(form: Form) -> bytes:
    """The response that a form carries."""
    return base64.b64decode(form.value("SAMLResponse") or "")


def with_message(form: Form, xml: bytes) -> Form:
    return form.filled({"SAMLResponse": base64.b64encode(xml).decode()})


# --- who comes in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "user", "roles"), [("alice", ALICE, ["admin", "editor"]), ("bob", BOB, ["viewer"])], ids=["alice", "bob"])
def test_somebody_new_is_made_as_the_claims_say_and_lands_where_they_wanted(
    connect: Connect, name: str, user: dict[str, Any], roles: list[str]
) -> None:
    app = connect()
    person = app.signed_in(name)
    assert (app.host.users(), app.roles(), app.who(person)) == ([user], roles, "user 1")


def test_the_names_of_the_x500_profile_are_those_of_the_generic_preset(idp: Idp, connect: Connect) -> None:
    app = connect(tenant=GENERIC)
    idp.set_up(remote=X500)
    for name in ("alice", "bob"):
        app.signed_in(name)
    assert (app.host.users(), app.roles()) == ([ALICE, {**BOB, "id": 2}], ["admin", "editor", "viewer"])


def test_who_is_signed_in_at_the_idp_types_no_password_again_unless_a_fresh_sign_in_is_asked_for(connect: Connect) -> None:
    app = connect()
    alice = app.signed_in()
    asked = [alice.asked]
    for query in ({}, {"force": "1"}):
        assert alice.open(app.login_url(**query)).url == f"{ORIGIN}/reports/7"
        asked.append(alice.asked)
    assert (asked, len(app.host.users())) == ([1, 1, 2], 1)


def test_asked_quietly_the_idp_signs_in_whom_it_knows_and_sends_others_back_without_a_word(connect: Connect) -> None:
    app = connect()
    quietly = app.login_url(next="/", passive="1")
    alice = app.visitor()
    page = alice.open(quietly)
    assert (page.url, page.text, alice.asked, app.host.reasons()) == (f"{ORIGIN}/", "nobody", 0, [])
    assert b":NoPassive" in message(alice.posted[-1])

    bob = app.signed_in("bob")
    bob.press(Form(f"{ORIGIN}/saml/logout"))
    page = bob.open(quietly)
    assert (page.url, page.text, bob.asked) == (f"{ORIGIN}/", "user 1", 1)


def test_a_claim_that_has_changed_by_the_next_sign_in_changes_the_record(idp: Idp, connect: Connect) -> None:
    app = connect()
    app.signed_in()
    idp.change("alice", surname=["Ångström-O'Hara <1 & 2>"], groups=[GROUP_A], role=["Editor"], emailaddress=["a.ohara@contoso.example"])
    app.signed_in()
    changed = {"last_name": "Ångström-O'Hara <1 & 2>", "departments": [GROUP_A], "email": "a.ohara@contoso.example"}
    assert (app.host.users(), app.roles()) == ([{**ALICE, **changed}], ["editor"])


def test_a_claim_without_a_value_leaves_the_record_alone(idp: Idp, connect: Connect) -> None:
    app = connect()
    app.signed_in()
    idp.change("alice", surname=[], displayname=[""])
    app.signed_in()
    assert app.host.users() == [ALICE]


@pytest.mark.parametrize(
    ("format", "value"),
    [
        pytest.param(FORMATS.format("1.1", "emailAddress"), "alice@contoso.example", id="emailAddress"),
        pytest.param(FORMATS.format("1.1", "unspecified"), "alice@contoso.example", id="unspecified"),
        pytest.param(FORMATS.format("2.0", "persistent"), None, id="persistent"),
    ],
)
def test_the_name_id_is_of_the_format_that_is_asked_for(connect: Connect, format: str, value: str | None) -> None:
    mapping = {"fields": {"email": "emailaddress", "display_name": "NameID"}}
    app = connect(tenant={"name_id_format": format, "mapping": mapping})
    alice = app.signed_in()
    [user] = app.host.users()
    assert f'Format="{format}"'.encode() in message(alice.posted[-1])
    assert user["display_name"] == value or (value is None and len(user["display_name"]) >= 32)


UPSTREAM = "$state['saml:AuthenticatingAuthority'] = ['https://upstream.example'];"
VARIANTS: dict[str, tuple[dict[str, Any], bytes]] = {
    "basic-name-format": ({"attributes.NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic"}, b"attrname-format:basic"),
    "a-further-audience": ({"audience": ["https://further.example"]}, b"https://further.example</saml:Audience>"),
    "an-idp-behind-the-idp": (
        {"authproc": {"60": {"class": "core:PHP", "code": UPSTREAM}}},
        b"<saml:AuthenticatingAuthority>https://upstream.example<",
    ),
}


@pytest.mark.parametrize(("remote", "sent"), [pytest.param(*given, id=name) for name, given in VARIANTS.items()])
def test_what_else_the_idp_can_be_set_to_say_is_accepted(idp: Idp, connect: Connect, remote: dict[str, Any], sent: bytes) -> None:
    app = connect()
    idp.set_up(remote=remote)
    alice = app.signed_in()
    assert (sent in message(alice.posted[-1]), app.host.users()) == (True, [ALICE])


def test_an_encrypted_name_id_is_refused(idp: Idp, connect: Connect) -> None:
    app = connect()
    idp.set_up(remote={"nameid.encryption": True})
    page = app.visitor().open(app.login_url())
    assert (page.status, app.why(), app.host.users()) == (403, [("shape_unexpected", "EncryptedID inside Subject")], [])


# --- what is signed and encrypted -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("signed", SIGN)
def test_what_the_idp_signs_is_enough_where_it_is_what_is_required(idp: Idp, connect: Connect, signed: str, encrypted: bool) -> None:
    tenant = {"require_signature": signed, "require_encryption": encrypted}
    app = connect(tenant=tenant)
    idp.set_up(remote=SIGN[signed] | (ENCRYPT if encrypted else {}))
    alice = app.signed_in()
    assert app.host.users() == [ALICE]
    sent = message(alice.posted[-1])
    assert (b"EncryptedAssertion" in sent, b"alice" in sent) == (encrypted, not encrypted)
    assert sent.count(b"<ds:Signature ") == {"assertion": 1 - encrypted, "response": 1, "both": 2 - encrypted}[signed]


@pytest.mark.parametrize(
    ("tenant", "sent", "reason"),
    [
        pytest.param({"require_signature": "assertion"}, SIGN["response"], "signature_missing", id="response-for-assertion"),
        pytest.param({"require_signature": "both"}, SIGN["assertion"], "signature_missing", id="assertion-for-both"),
        pytest.param({"require_signature": "response"}, SIGN["assertion"] | ENCRYPT, "signature_missing", id="encrypted-assertion"),
        pytest.param({}, dict.fromkeys(SIGN["both"], False), "signature_missing", id="nothing"),
        pytest.param({"require_encryption": True}, SIGN["both"], "encryption_missing", id="plain-for-encrypted"),
        pytest.param({}, {"signature.algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, "algorithm_not_allowed", id="sha1"),
    ],
)
def test_less_than_is_required_is_refused(idp: Idp, connect: Connect, tenant: dict[str, Any], sent: dict[str, Any], reason: str) -> None:
    app = connect(tenant=tenant)
    idp.set_up(remote=sent)
    page = app.visitor().open(app.login_url())
    assert (page.status, app.host.reasons(), app.host.users()) == (403, [reason], [])


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_longer_hashes_are_accepted(idp: Idp, connect: Connect, algorithm: str) -> None:
    app = connect()
    idp.set_up({"signature.algorithm": RSA + algorithm})
    alice = app.signed_in()
    assert f"rsa-{algorithm}".encode() in message(alice.posted[-1])


def test_our_key_is_rolled_over_while_the_idp_still_encrypts_to_the_old_one(idp: Idp, tmp_path: Path, connect: Connect) -> None:
    old, new = signing_key("interop sp"), signing_key("interop sp, next")
    app = connect(tenant={"require_encryption": True}, top={"sp": key_files(tmp_path, old=old)})
    idp.set_up(ENCRYPT)
    app.signed_in()
    known = app.metadata()
    after = connect(tenant={"require_encryption": True}, top={"sp": key_files(tmp_path, new=new, old=old)})
    idp.register(known)
    after.signed_in()
    idp.register(after.metadata())
    after.signed_in()
    assert len(after.host.users()) == 1


# --- our requests -----------------------------------------------------------------------------------------------------


def test_the_idp_takes_our_signed_request_and_no_other_once_our_metadata_says_that_we_sign(
    idp: Idp, tmp_path: Path, connect: Connect
) -> None:
    app = connect(tenant={"sign_requests": True})
    assert b'AuthnRequestsSigned="true"' in app.metadata()
    app.signed_in()

    known = app.metadata()
    others = {
        "unsigned": connect(),
        "with another key": connect(tenant={"sign_requests": True}, top={"sp": key_files(tmp_path, other=signing_key("another"))}
        ),
    }
    idp.register(known)
    for other in others.values():
        person = other.visitor()
        page = person.open(other.login_url())
        assert (page.url.partition("?")[0], person.asked) == (idp.url("SSOService"), 0)
    assert app.signed_in().asked == 1


def test_the_next_key_of_ours_is_known_to_the_idp_before_it_signs(idp: Idp, tmp_path: Path, connect: Connect) -> None:
    old, new = signing_key("interop sp"), signing_key("interop sp, next")
    signs = {"sign_requests": True}
    app = connect(tenant=signs, top={"sp": key_files(tmp_path, old=old, new=new)})
    app.signed_in()
    known = app.metadata()
    after = connect(tenant=signs, top={"sp": key_files(tmp_path, new=new, old=old)})
    idp.register(known)
    after.signed_in()


# --- sign-ins that the IdP starts -------------------------------------------------------------------------------------


def tile(app: Connected, relay_state: str = "/reports/9") -> str:
    return app.idp.url("SSOService", spentityid=f"{app.place}/metadata", RelayState=relay_state)


def test_a_sign_in_that_the_idp_starts_is_accepted_where_that_is_allowed(connect: Connect) -> None:
    app = connect(tenant={"allow_idp_initiated": True})
    alice = app.visitor()
    page = alice.open(tile(app))
    assert (page.url, app.host.reasons(), app.who(alice)) == (f"{ORIGIN}/reports/9", [], "user 1")
    assert b"InResponseTo" not in message(alice.posted[-1])


def test_elsewhere_it_is_started_again_here_once_and_nothing_more_is_typed(connect: Connect) -> None:
    app = connect()
    alice = app.visitor()
    page = alice.open(tile(app))
    assert (page.status, app.host.reasons(), app.who(alice)) == (200, ["unsolicited"], "user 1")
    assert (alice.asked, [b"InResponseTo" in message(form) for form in alice.posted]) == (1, [False, True])


# --- what somebody else made of it ------------------------------------------------------------------------------------

Tamper = Callable[[bytes], bytes]


def swap(pattern: str, new: str) -> Tamper:
    def change(xml: bytes) -> bytes:
        changed = re.sub(pattern.encode(), new.encode(), xml, count=1, flags=re.DOTALL)
        assert changed != xml, pattern
        return changed

    return change


def all_of(pattern: str) -> Tamper:
    return lambda xml: re.sub(pattern.encode(), b"", xml, flags=re.DOTALL)


def wrapped(xml: bytes) -> bytes:
    """The signed assertion stays, and one of the same words but for the name stands before it."""
    genuine = re.search(rb"<saml:Assertion .*</saml:Assertion>", xml, re.DOTALL)
    assert genuine
    forged = re.sub(rb"<ds:Signature .*?</ds:Signature>", b"", genuine[0], flags=re.DOTALL)
    forged = re.sub(rb' ID="[^"]*"', b' ID="_forged"', forged, count=1).replace(b"alice@", b"bob@")
    return xml.replace(genuine[0], forged + genuine[0])


SIGNATURE = "<ds:Signature .*?</ds:Signature>"
TAMPERED = {
    "a-value": (swap(">Alice<", ">Mallory<"), "signature_invalid"),
    "the-name-id": (swap("(<saml:NameID [^>]*>)alice", r"\1bob"), "signature_invalid"),
    "a-comment-in-the-name-id": (swap("(<saml:NameID [^>]*>ali)", r"\1<!-- -->"), "xml_forbidden"),
    "the-signatures-gone": (all_of(SIGNATURE), "signature_missing"),
    "another-assertion-before": (wrapped, "shape_unexpected"),
    "the-digest": (swap("(<ds:DigestValue>)....", r"\1AAAA"), "signature_invalid"),
    "white-space-in-a-value": (swap(">Alice<", "> Alice<"), "signature_invalid"),
}


@pytest.mark.parametrize("signed", ["assertion", "both"])
@pytest.mark.parametrize(("change", "reason"), [pytest.param(*given, id=name) for name, given in TAMPERED.items()])
def test_what_has_been_tampered_with_is_refused(idp: Idp, connect: Connect, change: Tamper, reason: str, signed: str) -> None:
    app = connect()
    idp.set_up(SIGN[signed])
    person = app.visitor()
    person.tamper = lambda form: with_message(form, change(message(form)))
    page = person.open(app.login_url())
    assert (page.status, app.host.reasons(), app.host.users()) == (400 if reason == "xml_forbidden" else 403, [reason], [])
    assert app.who(person) == "nobody"


@pytest.mark.parametrize(
    ("required", "reasons"),
    [("assertion_or_response", []), ("assertion", []), ("response", ["signature_missing"]), ("both", ["signature_missing"])],
)
def test_of_two_signatures_either_may_be_taken_away_where_one_is_enough(
    idp: Idp, connect: Connect, required: str, reasons: list[str]
) -> None:
    app = connect(tenant={"require_signature": required})
    idp.set_up(remote=SIGN["both"])
    person = app.visitor()
    person.tamper = lambda form: with_message(form, swap(SIGNATURE, "")(message(form)))  # the first one is the Response's
    person.open(app.login_url())
    assert (app.host.reasons(), app.who(person)) == (reasons, "nobody" if reasons else "user 1")


@pytest.mark.parametrize(("signed", "reason"), [("assertion", "decryption_failed"), ("both", "signature_invalid")])
def test_an_encrypted_assertion_that_has_been_tampered_with_is_refused(idp: Idp, connect: Connect, signed: str, reason: str) -> None:
    app = connect()
    idp.set_up(SIGN[signed] | ENCRYPT)
    person = app.visitor()
    spoil = swap("(.*<xenc:CipherValue>[^<]{40})....", r"\1AAAA")
    person.tamper = lambda form: with_message(form, spoil(message(form)))
    page = person.open(app.login_url())
    assert (page.status, app.host.reasons(), app.host.users()) == (403, [reason], [])


def test_a_response_is_good_once_and_in_one_browser(idp: Idp, connect: Connect) -> None:
    app = connect()
    alice = app.signed_in()
    thief = app.visitor("bob")
    thief.browser.get(f"{idp.base}/")
    page = thief.press(alice.posted[-1])
    assert (page.status, app.host.reasons(), app.who(thief)) == (403, ["replayed"], "nobody")
    assert (app.who(alice), len(app.host.users())) == ("user 1", 1)


def test_a_response_that_was_caught_before_it_was_used_signs_nobody_else_in(idp: Idp, connect: Connect) -> None:
    app = connect()
    alice, thief = app.visitor(), app.visitor("bob")
    alice.tamper = lambda form: replace(form, action=f"{idp.base}/")
    alice.open(app.login_url())
    thief.browser.get(f"{idp.base}/")
    page = thief.press(replace(alice.posted[-1], action=f"{app.place}/acs"))
    assert (page.status, app.who(thief), app.host.reasons()) == (403, "nobody", ["browser_mismatch"])


def test_a_response_for_another_app_of_the_same_idp_is_refused(idp: Idp, connect: Connect) -> None:
    app = connect()
    other = connect(origin="http://127.0.0.2:5000")
    idp.set_up(SIGN["assertion"])
    bob = other.visitor("bob")
    bob.tamper = lambda form: replace(form, action=f"{idp.base}/")
    bob.open(other.login_url())
    [caught] = bob.posted
    person = app.visitor("bob")
    person.browser.get(f"{idp.base}/")
    reasons = []
    for change in (lambda xml: xml, swap(f'Destination="{other.place}/acs"', f'Destination="{app.place}/acs"')):
        page = person.press(with_message(replace(caught, action=f"{app.place}/acs"), change(message(caught))))
        assert page.status == 403
        reasons.append(app.host.reasons()[-1])
    assert (reasons, app.host.users()) == (["destination_mismatch", "recipient_mismatch"], [])
