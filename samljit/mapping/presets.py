"""The kinds of IdP, in one table: how each names its claims, by what it knows people, where it lives, and how its messages differ.

A preset changes what is let through, never what is checked. Sources stand beside the rows; what is written there was seen in
responses of that product that people published, or stands in its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from samljit.mapping.aliases import ALIASES, NAME_ID, OBJECT_IDENTIFIER

_MICROSOFT_2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
_XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_OID = "urn:oid:"

# Microsoft's login hosts, all clouds; "*." stands for exactly one label. entra: authentication-national-cloud;
# External ID: customers/how-to-register-saml-app; B2C: saml-service-provider. China has two names: its documentation says
# partner.microsoftonline.cn, Microsoft's own libraries log in at chinacloudapi.cn (MSAL AzureCloudInstance.AzureChina).
MICROSOFT_HOSTS = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "*.ciamlogin.com",
    "*.b2clogin.com",
)

# Hints to a key that may stand in KeyInfo beside the certificate. No key is ever taken from there (trust: 7)
KEY_NAME, KEY_VALUE, SUBJECT_NAME, ISSUER_SERIAL = "KeyName", "KeyValue", "X509SubjectName", "X509IssuerSerial"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a product writes into a response besides what Entra does, and that is therefore let through.

    `value_types` are types of XML Schema that an AttributeValue may name; its content is text all the same. `key_hints` may stand in the
    KeyInfo of a signature. `signature_ids`: a Signature may be numbered; its number must be nobody else's ID, and names nothing.
    """

    value_types: frozenset[str] = frozenset({"string"})
    key_hints: frozenset[str] = frozenset()
    signature_ids: bool = False


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of IdP.

    `identity_source` is the full name of the claim that people are known by unless the mapping says otherwise, and `stable_identity` how
    an admin gets one that is never given away. `aliases` are the short names of claims. `hosts` are the only ones that its addresses may
    lie on, None for any. `names_directory`: every assertion must name the directory that it comes from (Entra's tenantid).
    `starts_sign_ins`: it can begin one itself. `repeats_attributes`: it writes a claim with several values as several claims.
    """

    product: str
    identity_source: str
    stable_identity: str
    aliases: Mapping[str, str]
    hosts: tuple[str, ...] | None = None
    names_directory: bool = False
    starts_sign_ins: bool = True
    repeats_attributes: bool = False
    dialect: Dialect = field(default_factory=Dialect)


_ENTRA = Preset(
    product="Microsoft Entra ID",
    identity_source=OBJECT_IDENTIFIER,
    stable_identity='Write "objectidentifier", or a claim that is never given away.',
    aliases=MappingProxyType(ALIASES),
    hosts=MICROSOFT_HOSTS,
    names_directory=True,
)
# where the admin types every name, these are the usual ones
_TYPED_NAMES = MappingProxyType({"emailaddress": "email", "givenname": "firstName", "surname": "lastName", "displayname": "displayName"})
_TYPED = 'Write "identity": {"source": ...} with a claim that is never given away; '

DEFAULT_PRESET = "entra"
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "entra": _ENTRA,
        # the same token service, under another name; "IdP-initiated SSO isn't supported" (customers/how-to-register-saml-app)
        "entra_external_id": Preset(
            product="Microsoft Entra External ID",
            identity_source=OBJECT_IDENTIFIER,
            stable_identity=_ENTRA.stable_identity,
            aliases=_ENTRA.aliases,
            hosts=MICROSOFT_HOSTS,
            names_directory=True,
            starts_sign_ins=False,
        ),
        # Its claim descriptions (Get-AdfsClaimDescription); displayname as New-AdfsLdapAttributeToClaimMapping shows it. A SID is never
        # used again; UPN, e-mail and account name are. It is there in every AD FS, and is sent once a rule passes it through.
        "adfs": Preset(
            product="AD FS",
            identity_source=f"{_MICROSOFT_2008}primarysid",
            stable_identity='Write "primarysid", and add the rule "Pass Through or Filter an Incoming Claim", Primary SID, in AD FS.',
            aliases=MappingProxyType(
                {
                    **{name: _XMLSOAP + name for name in ("givenname", "surname", "emailaddress", "name", "upn", "displayname")},
                    **{name: _MICROSOFT_2008 + name for name in ("role", "primarysid", "groupsid", "windowsaccountname")},
                    "groups": "http://schemas.xmlsoap.org/claims/Group",
                }
            ),
        ),
        # Claims have the names that the admin types; these are what Okta's own pages show (Define attribute statements). NameID is the
        # user name, an address, unless it is made of the user's id.
        "okta": Preset(
            product="Okta",
            identity_source=NAME_ID,
            stable_identity=_TYPED
            + 'in Okta an attribute statement for user.getInternalProperty("id"); or make the NameID of it (Application username, Custom).',
            aliases=_TYPED_NAMES,
        ),
        # As for Okta. NameID is an address even where its Format says persistent (seen so in responses), and Google offers no id to send
        "google": Preset(
            product="Google Workspace",
            identity_source=NAME_ID,
            stable_identity=_TYPED + "in Google a custom attribute of your own, or the employee ID.",
            aliases=_TYPED_NAMES,
            hosts=("accounts.google.com",),
            dialect=Dialect(value_types=frozenset({"string", "anyType"}), key_hints=frozenset({SUBJECT_NAME})),
        ),
        # Its built-in mappers (X500 email, givenName, surname; role list; group list). NameID is the user name, unless "persistent"
        "keycloak": Preset(
            product="Keycloak",
            identity_source=NAME_ID,
            stable_identity=_TYPED
            + 'in Keycloak a mapper "User Property" for the property id; or set the client\'s Name ID format to persistent.',
            aliases=MappingProxyType(
                {
                    "emailaddress": f"{_OID}1.2.840.113549.1.9.1",
                    "givenname": f"{_OID}2.5.4.42",
                    "surname": f"{_OID}2.5.4.4",
                    "role": "Role",
                    "groups": "member",
                    "name": "username",
                }
            ),
            repeats_attributes=True,  # one Attribute for each role, unless "Single Role Attribute" is on
            dialect=Dialect(key_hints=frozenset({KEY_NAME, KEY_VALUE})),
        ),
        # The names of SAML's X.500/LDAP attribute profile (SAML profiles 8.2), which Shibboleth and SimpleSAMLphp speak
        "generic": Preset(
            product="another SAML 2.0 IdP",
            identity_source=NAME_ID,
            stable_identity=_TYPED + "or have the IdP send a persistent NameID.",
            aliases=MappingProxyType(
                {
                    "emailaddress": f"{_OID}0.9.2342.19200300.100.1.3",
                    "givenname": f"{_OID}2.5.4.42",
                    "surname": f"{_OID}2.5.4.4",
                    "displayname": f"{_OID}2.16.840.1.113730.3.1.241",
                    "name": f"{_OID}0.9.2342.19200300.100.1.1",
                    "upn": f"{_OID}1.3.6.1.4.1.5923.1.1.1.6",
                    "groups": f"{_OID}1.3.6.1.4.1.5923.1.5.1.1",
                }
            ),
            dialect=Dialect(
                # what OpenSAML, Auth0 and others write for values that are no plain text; none of them is an ID or a QName
                value_types=frozenset(
                    {"string", "anyType", "boolean", "integer", "int", "long", "decimal", "double", "date", "dateTime", "anyURI"}
                ),
                key_hints=frozenset({KEY_NAME, KEY_VALUE, SUBJECT_NAME, ISSUER_SERIAL}),
                signature_ids=True,  # pysaml2 writes Id="Signature1"
            ),
        ),
    }
)
