"""SAML just-in-time provisioning for Flask: sign in with Microsoft Entra ID, users created and updated from claims."""

from samljit.errors import ConfigError, Reason, SamlJitError
from samljit.extension import SamlJit
from samljit.signals import sign_in_refused, signed_in, user_created, user_updated

__all__ = [
    "ConfigError",
    "Reason",
    "SamlJit",
    "SamlJitError",
    "sign_in_refused",
    "signed_in",
    "user_created",
    "user_updated",
]
