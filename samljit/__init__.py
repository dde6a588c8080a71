"""SAML just-in-time provisioning for Flask: sign in with Microsoft Entra ID, users created and updated from claims.

Names load when first used: pytest imports this package at every start through the plugin, and must not pay for Flask, SQLAlchemy and
xmlsec in projects that only have it installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samljit.errors import ConfigError, Reason, SamlJitError
    from samljit.extension import SamlJit
    from samljit.model import AdminAction
    from samljit.signals import (
        certificate_expiring,
        roles_changed,
        sign_in_refused,
        signed_in,
        signed_out,
        user_created,
        user_updated,
    )

_HOME_OF = {
    "AdminAction": "model",
    "ConfigError": "errors",
    "Reason": "errors",
    "SamlJit": "extension",
    "SamlJitError": "errors",
    "certificate_expiring": "signals",
    "roles_changed": "signals",
    "sign_in_refused": "signals",
    "signed_in": "signals",
    "signed_out": "signals",
    "user_created": "signals",
    "user_updated": "signals",
}

__all__ = [
    "AdminAction",
    "ConfigError",
    "Reason",
    "SamlJit",
    "SamlJitError",
    "certificate_expiring",
    "roles_changed",
    "sign_in_refused",
    "signed_in",
    "signed_out",
    "user_created",
    "user_updated",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"samljit.{_HOME_OF[name]}"), name)
