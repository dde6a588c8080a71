"""SAML: the only part, beside testing, that knows XML and SAML libraries."""

from samljit.saml.fit import require_fit

require_fit()
