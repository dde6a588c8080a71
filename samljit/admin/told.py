"""What was done to a tenant, in words."""

from __future__ import annotations

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
}


def told_action(action: AuditAction) -> str:
    """One line of the history."""
    return gettext(_ACTIONS[action])
