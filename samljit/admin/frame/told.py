"""What was done to a tenant, and what is wrong with Entra's values, in words."""

from __future__ import annotations

from hashlib import sha1

from samljit.errors import Problem
from samljit.model import Certificate
from samljit.sql.audit import AuditAction
from samljit.views.words import N_, gettext

_ACTIONS = {
    AuditAction.IDENTITY_LINKED: N_("Linked a person to a user"),
    AuditAction.IDENTITY_UNLINKED: N_("Unlinked a person from a user"),
    AuditAction.IDENTITIES_REKEYED: N_("Filed everybody under the new Microsoft Entra Identifier"),
    AuditAction.METADATA_CHANGED: N_("Took over new metadata of Entra"),
    AuditAction.TENANT_ADDED: N_("Added this tenant"),
    AuditAction.TENANT_CHANGED: N_("Changed the settings"),
    AuditAction.TENANT_ENABLED: N_("Switched sign-in on"),
    AuditAction.TENANT_DISABLED: N_("Switched sign-in off"),
    AuditAction.DRAFT_SAVED: N_("Saved the draft"),
    AuditAction.DRAFT_DROPPED: N_("Dropped the draft"),
    AuditAction.DRAFT_TESTED: N_("Tested the draft with success"),
    AuditAction.DRAFT_LIVE: N_("Made the draft live"),
    AuditAction.RULES_CHANGED: N_("Changed the sign-in rules"),
    AuditAction.DOMAIN_PROVED: N_("Proved a domain"),
}


_AGAIN = N_("Try again in a few minutes, or upload the file instead.")
_OWN_METADATA = N_("These are this app's own values. Entra's are wanted here: in SAML Certificates, App Federation Metadata Url.")

# what may be wrong with Entra's values, by the stable code of the problem, for somebody who has Entra open beside this page
_PROBLEMS = {
    "missing": N_("Fill this in."),
    "no_directory": N_("Enter the Tenant ID from the Overview page of Microsoft Entra ID, such as 00000000-0000-0000-0000-000000000000."),
    "endpoint_not_allowed": N_("This is not an https address at one of Microsoft's sign-in hosts."),
    "app_id_missing": N_(
        "This is the address of the whole directory. Copy the one of this app, which ends in ?appid= and an ID: in SAML Certificates, "
        "App Federation Metadata Url."
    ),
    "not_https": N_("This is not an https address."),
    "host_unknown": N_("The address leads nowhere: there is no such host. Copy it once more, whole."),
    "address_not_public": N_("The address leads into a private network. Only addresses of the public internet are fetched."),
    "redirected": N_("The address leads on to another one. Copy the one where the metadata itself stands."),
    "http_status": N_("Entra does not know this address. Copy it once more, whole."),
    "compressed": _AGAIN,
    "empty": _AGAIN,
    "unreachable": N_("Entra could not be reached. Try again in a few minutes, or upload the file instead."),
    "too_slow": N_("Entra did not answer in time. Try again in a few minutes, or upload the file instead."),
    "certificate_not_trusted": N_("The server there could not prove that it is Microsoft's. Nothing was read."),
    "tls_failed": N_("No secure connection could be made. Try again in a few minutes, or upload the file instead."),
    "broke_off": N_("The answer broke off. Try again in a few minutes, or upload the file instead."),
    "too_large": N_("This is too large to be the metadata of one app."),
    "xml_malformed": N_("This is no XML file. In Entra: SAML Certificates, Federation Metadata XML, Download."),
    "xml_forbidden": N_("This XML file is not as Entra makes it. Download it again: SAML Certificates, Federation Metadata XML."),
    "not_metadata": N_("This is XML, but no federation metadata. In Entra: SAML Certificates, Federation Metadata XML, Download."),
    "several_entities": N_("This describes many organisations. Take the file of this app: SAML Certificates, Federation Metadata XML."),
    "no_idp": _OWN_METADATA,
    "several_idps": N_("This describes several identity providers. Take the file of this app: SAML Certificates, Federation Metadata XML."),
    "common_metadata": N_("This stands for every directory of the world. Take the values of this app in your own directory."),
    "entity_id_missing": N_("The file does not say who it is from. Download it again: SAML Certificates, Federation Metadata XML."),
    "metadata_expired": N_("This file is out of date. Download it again: SAML Certificates, Federation Metadata XML."),
    "endpoint_missing": N_("The file names no address to sign in at. Take this app's: SAML Certificates, Federation Metadata XML."),
    "certificate_malformed": N_("This is no certificate. In Entra: SAML Certificates, Certificate (Base64), Download."),
    "certificate_missing": N_("There is no certificate in it. In Entra: SAML Certificates, New Certificate."),
    "certificate_unusable": N_("A certificate has a key that is not safe enough: RSA with at least 2048 bits is needed."),
    "too_many_certificates": N_("There are more certificates than an identity provider may have here. Give us those in use."),
    "certificate_expired": N_("A certificate has expired. In Entra: SAML Certificates, New Certificate, then make it active."),
    "certificate_not_yet_valid": N_("A certificate is not valid yet."),
    "no_certificate_in_date": N_("No certificate is in date: nobody could sign in. In Entra: SAML Certificates, New Certificate."),
}


def told_thumbprint(certificate: Certificate) -> str:
    """The thumbprint as Entra's page shows it: SHA-1 in upper-case hex. To recognise a certificate by; nothing is trusted for it."""
    return sha1(certificate.der, usedforsecurity=False).hexdigest().upper()


def told_problem(problem: Problem) -> str:
    """What is wrong with Entra's values, and what to do about it."""
    told = _PROBLEMS.get(problem.code)
    return gettext(told) if told else f"{problem.message} {problem.hint}".strip()


def told_action(action: AuditAction) -> str:
    """One line of the history."""
    return gettext(_ACTIONS[action])
