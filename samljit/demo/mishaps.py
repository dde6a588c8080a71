"""What can go wrong with the next response, to be chosen on Fake Entra's page: each one really signed, or really forged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from samljit.testing import AuthnRequest, FakeEntra, Person, SamlPost, signing_key

_SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be answered: to whom, about whom, when. `request` is None where the sign-in began in My Apps."""

    entra: FakeEntra
    person: Person
    acs_url: str
    audience: str
    now: datetime
    request: AuthnRequest | None
    last_post: SamlPost | None = None


class NothingToRepeat(LookupError):
    """A response is to be posted again, and this person has had none."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """One choice: its label, what it shows, and how it is answered."""

    label: str
    about: str
    answer: Callable[[Asked], SamlPost]


def _answer(asked: Asked, **changes: Any) -> SamlPost:
    """A good response but for `changes`, fields of ResponseSpec."""
    if asked.request is None:
        return _unsolicited(asked, **changes)
    return asked.entra.respond(asked.request, asked.person, now=asked.now, **changes)


def _unsolicited(asked: Asked, **changes: Any) -> SamlPost:
    return asked.entra.unsolicited(asked.person, acs_url=asked.acs_url, audience=asked.audience, now=asked.now, **changes)


def _refuse(asked: Asked) -> SamlPost:
    if asked.request is None:
        raise NothingToRepeat("An error answers a request; start the sign-in in the app.")
    return asked.entra.refuse(asked.request, now=asked.now, message="AADSTS50105: The signed in user is not assigned to a role.")


def _repeat(asked: Asked) -> SamlPost:
    if asked.last_post is None:
        raise NothingToRepeat("This person has not signed in yet, so there is no response to post again.")
    return asked.last_post


def _tamper(root: Any) -> None:
    """Changes a signed value: the digest in the signature no longer fits."""
    value = next(root.iter(f"{_SAML}AttributeValue"))
    value.text = f"{value.text}x"


MISHAPS: dict[str, Mishap] = {
    "nothing": Mishap("Nothing", "A good response, as Entra sends it.", _answer),
    "audience": Mishap(
        "Meant for another app", "The audience is another app's.", lambda asked: _answer(asked, audiences=(("https://other.example",),))
    ),
    "expired": Mishap("Expired", "Made two hours ago.", lambda asked: _answer(replace(asked, now=asked.now - timedelta(hours=2)))),
    "key": Mishap(
        "Signed by somebody else", "A key that the app does not know.", lambda asked: _answer(asked, key=signing_key("a stranger's"))
    ),
    "tampered": Mishap("Changed on the way", "A value was changed after signing.", lambda asked: _answer(asked, after_signing=_tamper)),
    "email": Mishap(
        "No e-mail address",
        "The claims that the app needs are missing.",
        lambda asked: _answer(replace(asked, person=replace(asked.person, email=None, upn=None))),
    ),
    "replay": Mishap("Posted twice", "This person's last response, posted once more.", _repeat),
    "status": Mishap("An error status", "Entra answers with an error and no assertion.", _refuse),
    "unsolicited": Mishap("Not asked for", "A response that answers no request.", _unsolicited),
}
