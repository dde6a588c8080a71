"""Signals, sent after commit with the Flask app as sender. Connect with `@signed_in.connect_via(app)`.

| signal | sent | keywords |
| --- | --- | --- |
| `user_created` | a sign-in made a user | `user_id, tenant (slug), reference, decisions` |
| `user_updated` | a sign-in changed a user | the same |
| `roles_changed` | a sign-in granted or revoked roles | `user_id, tenant, reference, granted, revoked` (tuples of names) |
| `signed_in` | the session began | `user_id, tenant, reference, outcome` (`samljit.model.Outcome`: create, update or unchanged) |
| `signed_out` | a session that a sign-in began has ended | `user_id, tenant, reference, by` ("person", "idp") |
| `sign_in_refused` | a sign-in was refused | `reason (Reason), tenant (slug or None), reference` |
| `certificate_expiring` | a tenant's last certificate expires in less than 60, 30, 7 or 1 days | `tenant, days, not_after, fingerprint` |

`certificate_expiring` is sent once for each of these, by whichever worker, cron job or sign-in sees it first.

`decisions` are `samljit.model.FieldDecision`, with old and new values: keep them out of logs.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

user_created = _signals.signal("samljit.user_created")
user_updated = _signals.signal("samljit.user_updated")
roles_changed = _signals.signal("samljit.roles_changed")
signed_in = _signals.signal("samljit.signed_in")
signed_out = _signals.signal("samljit.signed_out")
sign_in_refused = _signals.signal("samljit.sign_in_refused")
certificate_expiring = _signals.signal("samljit.certificate_expiring")
