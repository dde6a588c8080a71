"""One sign-in from the outside: through the browser's eyes, with the database looked at after."""

from __future__ import annotations

from tests.host import LOGIN, ORIGIN, Host


def test_a_newcomer_becomes_a_user_and_lands_on_the_page_they_wanted(host: Host) -> None:
    page = host.sign_in(login_url=f"{LOGIN}?next=/reports/7")
    [user] = host.users()
    assert (page.status, page.url, page.text) == (200, f"{ORIGIN}/reports/7", f"report 7 for user {user['id']}")
    assert (user["email"], user["first_name"], user["display_name"]) == ("adele.vance@contoso.example", "Adele", "Adele Vance")
