"""What is wrong with a mapping, in plain words, by the stable code of the problem."""

from __future__ import annotations

from samljit.admin.people.mapping import FIELDS_PLACE
from samljit.errors import Problem
from samljit.views.words import N_, gettext

_TEXTS = {
    "unknown_target": N_("The app's user record has no such field that claims could fill."),
    "protected_target": N_("The app keeps this field to itself: it is never filled from claims."),
    "source_conflict": N_("Say where the value comes from, in one way only: a claim, a text put together, or a constant."),
    "bad_template": N_("The braces do not fit together, or no claim stands in them. For example: {givenname} {surname}"),
    "unknown_transform": N_("There is no step of this name."),
    "type_mismatch": N_("The field cannot hold this type. Leave it as the field has it."),
    "multi_mismatch": N_("The field cannot hold a list. Join the values, or take one of them."),
    "value_type": N_("This constant does not fit the field: look at its type and length."),
    "default_type": N_("This default does not fit the field: look at its type and length."),
    "default_unused": N_("The default is never taken where the field is required. Leave one of them out."),
    "unfilled_column": N_("A field that must not be empty would be filled by nothing, and nobody new could sign in."),
    "clear_not_allowed": N_(
        "This field cannot be cleared: it must not be empty, must be unique, or is not written at every sign-in. Keep the value instead."
    ),
    "mutable_identity": N_(
        "This claim can change, and can be given to somebody else one day, who then signs in as the first person. Take one that never "
        "changes: in Entra, objectidentifier."
    ),
    "shared_identity": N_("Many people have the same value of this claim, and would all be one user. In Entra, take objectidentifier."),
    "alias_unknown": N_("This is the short name of a claim of Entra's; your identity provider has none that is called so."),
    "role_not_grantable": N_("This role may not be granted from here: whoever runs the app has not listed it in guards.grantable_roles."),
    "empty_authoritative": N_(
        "This gives no roles at all, and would take every role away that was ever granted. Name roles, or leave them alone."
    ),
    "remove_not_allowed": N_("Roles are never taken away in this way, so they cannot be when no claim comes either."),
    "roles_never_revoked": N_(
        "Entra sends no claim to somebody whose last role or group was taken away: that person keeps the roles here for ever. Choose to "
        "take them away."
    ),
    "email_field_missing": N_("This goes by e-mail address, and no claim fills the field for it."),
    "is_privileged_missing": N_(
        "The app does not tell us who has special rights, and nobody may become such a person by an e-mail address."
    ),
    "tenant_fields_missing": N_("The app does not tell us whose users are whose."),
    "domains_missing": N_(
        "Addresses are only taken from a domain that has been proved to be yours, and there is none yet: see Domains."
    ),
    "active_field_missing": N_("The app does not tell us which users are active."),
    "invalid_domain": N_("This is no domain. Enter what follows the @ in addresses, such as contoso.com."),
    "too_large": N_("This is more than can be written here. Write less, or ask whoever runs the app to do it."),
    "guests_unknown": N_("Your identity provider does not say who is a guest: nobody would be refused."),
}
_AT = {
    "on_missing": N_("Say what happens when none of the claims comes: Entra sends none to somebody without a role or group."),
    "source": N_("Say which claim this comes from."),
    "template": N_("Say how the text is put together."),
    "max_users": N_("Enter a whole number, 1 or more."),
    "notes": N_("A note has at most 200 characters."),
    "any_of": N_("Enter at least one value."),
}

_IN_FIELD = N_("Field %(name)s")


def told_fault(problem: Problem) -> str:
    """One problem, and what to do about it."""
    text = _TEXTS.get(problem.code) or next((text for key, text in _AT.items() if key in problem.path.split(".")[-1].split("[")), None)
    return gettext(text) if text else f"{problem.message} {problem.hint}".strip()


def place_of(problem: Problem) -> str:
    """The field that a problem is about, for those who stand elsewhere; "" for none."""
    place = problem.path.removeprefix(FIELDS_PLACE)
    if place == problem.path or not place:
        return ""
    return gettext(_IN_FIELD, name=place.lstrip(".").partition(".")[0].strip('["]'))
