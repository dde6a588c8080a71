"""Test sign-ins: a whole round trip with the draft, begun here, answered at the ACS (`views.tests`), and shown here."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from wtforms import BooleanField

from samljit.admin.frame.forms import AdminForm
from samljit.admin.frame.page import admin_page, done
from samljit.admin.frame.results import CHECKS, shown_result
from samljit.admin.frame.visit import Visit, admin_view, see_other
from samljit.errors import Problem
from samljit.model import AdminAction, Purpose, Tenant
from samljit.saml.request import redirect_url
from samljit.sql.tested import read_test
from samljit.tested import SignInTest
from samljit.views.cookies import PendingTest, drop_pending_test, find_pending_test, set_pending_test
from samljit.views.login import own_host_url
from samljit.views.mounted import app_secrets, mounted
from samljit.views.pages import page
from samljit.views.words import N_, gettext

_PASSED = N_("The test passed. The draft can go live.")
_CHANGED = N_("The draft was changed while the test ran, so the result was not kept. Start it once more.")
_NOT_OURS = N_("This test was not started in this browser, by you, within the last hours. It does not count. Start it here.")
_NOTHING_CAME = N_("Nothing that belongs to this test has reached us.")


class StartForm(AdminForm):
    """Starts a test. `force` has Microsoft ask for the password again, so that it can be somebody else."""

    force = BooleanField(N_("Ask for a fresh sign-in"))


@admin_view(AdminAction.TEST)
def test(visit: Visit) -> Response:
    """The last test, and the button that starts the next."""
    if elsewhere := own_host_url("samljit.admin.test", tenant=visit.tenant.slug):
        return see_other(elsewhere)
    form = StartForm()
    tenant, problems = _drafted(visit)
    if form.is_sent(visit) and tenant is not None:
        return _start(visit, tenant, force=bool(form.force.data))
    stored = visit.stored
    last = read_test(stored.last_test) if stored and stored.last_test else None
    return admin_page(
        visit,
        "test.html",
        section="test",
        form=form,
        problems=problems,
        can_start=tenant is not None,
        has_draft=stored is not None and stored.draft is not None,
        is_tested=stored is not None and stored.tested_revision == stored.draft_revision,
        result=shown_result(last, tenant or visit.tenant) if last else None,
        is_of_this_draft=stored is not None and last is not None and last.draft_revision == stored.draft_revision,
        checks=CHECKS,
    )


@admin_view(AdminAction.TEST)
def test_result(visit: Visit) -> Response:
    """Where the browser comes back to from the ACS. The draft counts as tested once it is the one that began, and its admin's."""
    stored, nonce = visit.stored, request.args.get("n", "")
    address = visit.url("test")
    if stored is None:
        return see_other(address)
    pending = find_pending_test(request, mount=mounted(), secrets=app_secrets())
    if pending is None or (pending.nonce, pending.tenant_id, pending.user) != (nonce, stored.id, visit.user.get_id()):
        return done(address, gettext(_NOT_OURS), kind="warn")
    last = read_test(stored.last_test) if stored.last_test else None
    if pending.draft_revision != stored.draft_revision:
        answer = done(address, gettext(_CHANGED), kind="warn")
    elif last is None or last.nonce != nonce:
        return done(address, gettext(_NOTHING_CAME), kind="warn")
    else:
        answer = _finish(visit, last, address=address)
    drop_pending_test(answer, mount=mounted())
    return answer


def _finish(visit: Visit, last: SignInTest, *, address: str) -> Response:
    stored = visit.get_stored()
    if not last.passed:
        return see_other(address)
    if not mounted().directory.rows.confirm_test(stored, nonce=last.nonce, author=visit.author):
        return done(address, gettext(_CHANGED), kind="warn")
    return done(address, gettext(_PASSED))


def _start(visit: Visit, tenant: Tenant, *, force: bool) -> Response:
    """Off to the draft's IdP, by a page that goes on by itself: a redirect is held against `form-action` (see `views.login_page`)."""
    stored, secrets = visit.get_stored(), app_secrets()
    asked = secrets.requests.issue(
        tenant.id, now=visit.now, purpose=Purpose.TEST, draft_revision=stored.draft_revision, force_authn=force
    )
    address = redirect_url(tenant, asked, signing_key=secrets.signing_key)
    response = page("handover.html", heading=N_("Going to your organisation's sign-in…"), onward=address)
    pending = PendingTest(asked.nonce, stored.id, visit.user.get_id(), stored.draft_revision)
    set_pending_test(response, mount=mounted(), secrets=secrets, pending=pending)
    return response


def _drafted(visit: Visit) -> tuple[Tenant | None, list[Problem]]:
    """The tenant as the draft has it, if a test can be made with that; else what stands against it."""
    if visit.stored is None:
        return None, []
    tenant, found = mounted().directory.find_drafted(visit.stored, now=visit.now)
    problems: list[Any] = [problem for problem in found if not problem.is_warning]
    if tenant is None:
        return None, problems
    if tenant.idp is None or not tenant.idp.is_usable(visit.now):
        return None, [Problem("$", "missing", gettext(N_("Microsoft Entra is not connected yet. Finish the set-up first.")))]
    if tenant.sign_requests and app_secrets().signing_key is None:
        return None, [Problem("$", "missing", gettext(N_("Requests are to be signed, and the app has no key for it.")))]
    return tenant, []
