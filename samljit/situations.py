"""What whoever signs in reads when a sign-in is refused: one row for each situation of a person, however many reasons lead there.

Plain text without values, in words that are no jargon to anybody. The pages translate it (`views.words`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """One page: `title` is its heading, `text` says what happened, `next_step` what to do now, and whom to ask where that is needed."""

    title: str
    text: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.text} {self.next_step}"


_START_AGAIN = "Start again: you will come to the page that you wanted."
_ASK_IT = "Trying again will not help. Send the details below to the IT department of your organisation."
_ASK_US = "Send the details below to whoever looks after this app."

NOT_UNDERSTOOD = Situation(
    "The sign-in could not be read",
    "Your organisation's sign-in service sent something that this app could not read.",
    "Try again. If it happens again, send the details below to the IT department of your organisation.",
)
# Also where the sign-in service itself reports an error: that part of its message is not signed, so it may not choose the page (trust: 42)
NOT_ACCEPTED = Situation(
    "The sign-in was not accepted",
    "This app could not accept the answer of your organisation's sign-in service. Perhaps the sign-in was not completed there, or "
    "not allowed.",
    "Try again. If it happens again, send the details below to the IT department of your organisation.",
)
TOO_MANY = Situation(
    "Many people are signing in",
    "More sign-ins are under way than this app takes at once.",
    "Wait a minute, then try again.",
)
NOT_SET_UP_RIGHT = Situation(
    "Sign-in is not set up correctly",
    "This app and your organisation's sign-in service do not agree with each other. It has nothing to do with your password.",
    _ASK_IT,
)
STARTED_ELSEWHERE = Situation(
    "This sign-in did not start here",
    "It was started outside this app, which your organisation has not allowed.",
    "Start again from here.",
)
TOOK_TOO_LONG = Situation(
    "The sign-in took too long",
    "A sign-in must be finished within some minutes. This one was not, and is no longer valid.",
    _START_AGAIN,
)
NOT_AFRESH = Situation(
    "A fresh sign-in is needed",
    "The page that you wanted asks you to sign in afresh, and your organisation's sign-in service took an earlier sign-in for it.",
    "Try again, and type your password when you are asked. If you are not asked, send the details below to the IT department of your "
    "organisation.",
)
OURS = Situation("Something went wrong on our side", "It has nothing to do with you or your password.", "Try again in a moment.")
WAY_NOT_ACCEPTED = Situation(
    "This way of signing in is not enough",
    "You are known to your organisation, but this app asks for more than the way in which you signed in there, such as a second factor.",
    "Ask whoever looks after this app what it asks for, and send the details below along.",
)
USED_ALREADY = Situation(
    "This sign-in was used already",
    "Each sign-in works once. This one came a second time, as it does when a page is reloaded or the back button is used.",
    _START_AGAIN,
)
CLAIM_MISSING = Situation(
    "Something about you is missing",
    "Your organisation's sign-in service left out something that this app needs to know about you.",
    "Send the details below to the IT department of your organisation: they can see what is missing.",
)
CLAIM_UNUSABLE = Situation(
    "Something about you does not fit",
    "Your organisation's sign-in service sent something about you that this app cannot use.",
    "Send the details below to the IT department of your organisation: they can see what it is.",
)
OTHER_DOMAIN = Situation(
    "Your e-mail address is not known here",
    "It does not belong to a domain that your organisation has registered with this app.",
    _ASK_US,
)
GUEST = Situation(
    "This app is not open to guests",
    "You are a guest of the organisation that you signed in to, and this app is for its own members only.",
    "Sign in with your own organisation if it uses this app. Else send the details below to whoever invited you.",
)
NOT_ASSIGNED = Situation(
    "You have no access to this app",
    "Your organisation decides who may use this app, and has not given you access.",
    "Send the details below to the IT department of your organisation and ask for access.",
)
TOO_MANY_GROUPS = Situation(
    "Your access cannot be told",
    "You are in more groups than your organisation's sign-in service can name, so this app cannot tell what you may do.",
    _ASK_IT,
)
ACCOUNT_CONFLICT = Situation(
    "There is an account for you already",
    "It has your e-mail address, and is not connected to this way of signing in yet.",
    "Send the details below to whoever looks after this app and ask them to connect it.",
)
NO_ACCOUNT = Situation(
    "You have no account here yet",
    "Your organisation knows you, but accounts in this app are not made by signing in.",
    "Send the details below to whoever looks after this app and ask for an account.",
)
NO_PLACES = Situation("There are no free places left", "Your organisation has as many accounts in this app as it may have.", _ASK_US)
VALUE_CONFLICT = Situation(
    "Another account has what is yours",
    "Something that may belong to one person only, such as your e-mail address, is in another account here.",
    _ASK_US,
)
INACTIVE = Situation(
    "Your account is not active",
    "You have an account in this app, but it is switched off, or waits to be switched on.",
    "Send the details below to whoever looks after this app and ask them to switch it on.",
)
OTHER_TENANT = Situation("Your account belongs elsewhere", "Your account in this app belongs to another organisation.", _ASK_US)
APP_REFUSED = Situation(
    "Your details were not accepted",
    "This app could not accept what your organisation's sign-in service says about you.",
    _ASK_US,
)
DATABASE_DOWN = Situation("We cannot sign you in right now", "Our database cannot be reached.", "Try again in a few minutes.")
# whatever was posted has not been used, or is found to have been: to post it again is safe
DATABASE_DOWN_MEANWHILE = Situation(
    DATABASE_DOWN.title,
    DATABASE_DOWN.text,
    "Reload this page in a minute, and let your browser send the form again: you need not sign in anew. After ten minutes, start again.",
)
OTHER_BROWSER = Situation(
    "This sign-in did not start in this browser",
    "A sign-in must be finished in the browser that it was started in, within some minutes.",
    "Start again here, and stay in this browser.",
)
COOKIES_BLOCKED = Situation(
    "Your browser sent no cookies",
    "Without them nobody can stay signed in here. Perhaps cookies are blocked for this site, or this page was open for too long.",
    "Allow cookies for this site, then start again.",
)
NOT_REMEMBERED = Situation(
    "This app does not remember you",
    "You signed in, twice now, but your browser did not bring back what this app remembers you by. Perhaps it keeps no cookies.",
    "Allow cookies for this site, then try again. If it happens again, send the details below to whoever looks after this app.",
)
ACCOUNT_GONE = Situation("Your account is not there any more", "It was removed or switched off while you signed in.", _ASK_US)
LOGIN_REFUSED = Situation(
    "This app did not let you in",
    "Your organisation confirmed who you are, but this app refused the sign-in.",
    _ASK_US,
)
UNKNOWN_PLACE = Situation(
    "There is no such organisation here",
    "The address of this page names an organisation that this app does not know.",
    "Check the address, or go to the app's start and sign in from there.",
)
SWITCHED_OFF = Situation(
    "Sign-in is switched off",
    "Nobody of your organisation can sign in this way at the moment.",
    "Ask whoever looks after this app when it is back, and send the details below along.",
)
NOT_SWITCHED_ON = Situation(
    "Sign-in is not switched on yet",
    "Your organisation has not been connected to this app yet.",
    "Ask whoever looks after this app when it is ready, and send the details below along.",
)
NOT_A_WINDOW = Situation(
    "Open this page in a window",
    "The sign-in was asked for by a part of another page, where it cannot be shown.",
    "Open the app in a window of its own.",
)
