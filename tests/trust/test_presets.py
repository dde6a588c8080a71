"""Each kind of IdP, by responses of its own shape, through the whole flow; and that nobody can do more with what a preset lets through."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from samljit.errors import Problem, Reason
from samljit.mapping.compile import compile_mapping
from samljit.mapping.presets import PRESETS
from samljit.model import IdentityProvider, MappingRules, UserShape
from samljit.saml.shape import response_shape
from samljit.settings import allowed_hosts, check_endpoint, read_settings
from samljit.testing import Browser, Encryption, FakeEntra, Form, Page, Person, signing_key
from samljit.testing.encryption import encrypt_assertion
from samljit.testing.signing import serialize, sign_element
from tests import idps
from tests.host import ACS, ADELE, ENTITY_ID, FIELDS, LOGIN, ORIGIN, Host, key_files, make_host, settings_for
from tests.trust.forge import DS, Desk, swap

MICROSOFT_2008 = "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
XMLSOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
SID = "S-1-5-21-1004336348-1177238915-682003330-1105"


@dataclass(frozen=True)
class Product:
    """How one product is set up in the tests: where it lives, what it says of Adele, by what she is known."""

    write: idps.Writer
    entity_id: str
    sso_url: str
    name_id: str
    name_id_format: str
    claims: Mapping[str, tuple[str, ...]]
    known_by: tuple[str, str]
    role: str | None = None
    roles: tuple[str, ...] = ()


ADFS = Product(
    idps.adfs,
    "http://fs.contoso.example/adfs/services/trust",
    "https://fs.contoso.example/adfs/ls/",
    "adele.vance@contoso.example",
    idps.UNSPECIFIED,
    {
        f"{MICROSOFT_2008}primarysid": (SID,),
        f"{XMLSOAP}emailaddress": ("adele.vance@contoso.example",),
        f"{XMLSOAP}givenname": ("Adele",),
        f"{XMLSOAP}surname": ("Vance",),
        f"{XMLSOAP}upn": ("adele@contoso.example",),
        f"{MICROSOFT_2008}role": ("editors", "readers"),
    },
    (f"{MICROSOFT_2008}primarysid", SID),
    "role",
    ("editors", "readers"),
)
OKTA = Product(
    idps.okta,
    "http://www.okta.com/exk91vwiyk0PeANC25d7",
    "https://contoso.okta.com/app/contoso_app_1/exk91vwiyk0PeANC25d7/sso/saml",
    "00ub0oNGTSWTBKOLGLNR",
    idps.PERSISTENT,
    {
        "email": ("adele.vance@contoso.example",),
        "firstName": ("Adele",),
        "lastName": ("Vance",),
        "groups": ("editors", "Everyone"),
    },
    ("NameID", "00ub0oNGTSWTBKOLGLNR"),
    "groups",
    ("editors", "Everyone"),
)
GOOGLE = Product(
    idps.google,
    "https://accounts.google.com/o/saml2?idpid=C01abcdef",
    "https://accounts.google.com/o/saml2/idp?idpid=C01abcdef",
    "adele.vance@contoso.example",
    idps.PERSISTENT,
    {"email": ("adele.vance@contoso.example",), "firstName": ("Adele",), "lastName": ("Vance",), "groups": ("editors",)},
    ("NameID", "adele.vance@contoso.example"),
    "groups",
    ("editors",),
)
KEYCLOAK = Product(
    idps.keycloak,
    "https://sso.contoso.example/realms/contoso",
    "https://sso.contoso.example/realms/contoso/protocol/saml",
    "G-1bfdee87-1aa3-4fbe-b4cd-d1ed12d83c1e",
    idps.PERSISTENT,
    {
        "urn:oid:1.2.840.113549.1.9.1": ("adele.vance@contoso.example",),
        "urn:oid:2.5.4.42": ("Adele",),
        "urn:oid:2.5.4.4": ("Vance",),
        "Role": ("offline_access", "editors", "uma_authorization"),
    },
    ("NameID", "G-1bfdee87-1aa3-4fbe-b4cd-d1ed12d83c1e"),
    "role",
    ("offline_access", "editors", "uma_authorization"),
)
SHIBBOLETH = Product(
    idps.shibboleth,
    "https://idp.contoso.example/idp/shibboleth",
    "https://idp.contoso.example/idp/profile/SAML2/Redirect/SSO",
    "AAdzZWNyZXQxBZJlQNvMYyqYXC2PLcIBHfM=",
    idps.PERSISTENT,
    {
        "urn:oid:0.9.2342.19200300.100.1.3": ("adele.vance@contoso.example",),
        "urn:oid:2.5.4.42": ("Adele",),
        "urn:oid:2.5.4.4": ("Vance",),
        "urn:oid:1.3.6.1.4.1.5923.1.5.1.1": ("editors",),
    },
    ("NameID", "AAdzZWNyZXQxBZJlQNvMYyqYXC2PLcIBHfM="),
    "groups",
    ("editors",),
)
NUMBERED = replace(SHIBBOLETH, write=idps.numbered, claims={**SHIBBOLETH.claims, "verified": ("true",)})

PRODUCTS = {
    "adfs": ("adfs", ADFS),
    "okta": ("okta", OKTA),
    "google": ("google", GOOGLE),
    "keycloak": ("keycloak", KEYCLOAK),
    "generic-shibboleth": ("generic", SHIBBOLETH),
    "generic-numbered-signatures": ("generic", NUMBERED),
}
each_product = pytest.mark.parametrize(("preset", "product"), PRODUCTS.values(), ids=PRODUCTS)


@dataclass
class Scene:
    """A host with one tenant, contoso, whose IdP is that product."""

    host: Host
    product: Product
    entra: FakeEntra = field(repr=False)

    def answer(self, *, url: str | None, **changes: Any) -> bytes:
        """The product's answer to the request in this address; None where nobody has asked."""
        request_id = self.entra.read_request(url).id if url else None
        values: dict[str, Any] = {
            "issuer": self.product.entity_id,
            "acs": ACS,
            "audience": ENTITY_ID,
            "request_id": request_id,
            "name_id": self.product.name_id,
            "name_id_format": self.product.name_id_format,
            "claims": self.product.claims,
            "now": datetime.now(UTC),
            "key": self.entra.key,
            **idps.new_ids(),
        }
        return self.product.write(idps.Answer(**{**values, **changes}))

    def sign_in(self, *, edit: Callable[[bytes], bytes] = lambda xml: xml, browser: Browser | None = None, **changes: Any) -> Page:
        browser = browser or self.host.browser()
        page = browser.get(LOGIN)
        assert page.is_outside, page.text
        xml = edit(self.answer(url=page.url, **changes))
        return browser.submit(Form(ACS, fields=(("SAMLResponse", base64.b64encode(xml).decode()),)), by_script=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []

    def make(preset: str, product: Product, *, tenant: Mapping[str, Any] | None = None, **top: Any) -> Scene:
        entra = FakeEntra(entity_id=product.entity_id, sso_url=product.sso_url, slo_url=product.sso_url)
        mapping: dict[str, Any] = {"fields": FIELDS}
        if product.role:
            mapping["roles"] = {"source": product.role, "map": {"editors": ["editor"]}, "on_missing": "remove"}
        ours = {"preset": preset, "entra_tenant_id": None, "mapping": mapping, **(tenant or {})}
        host = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, tenant=ours, **top))
        made.append(Scene(host, product, entra))
        return made[-1]

    yield make
    for one in made:
        one.host.session.remove()
        one.host.engine.dispose()


# --- each product, through the whole flow -----------------------------------------------------------------------------


@each_product
def test_one_mapping_document_signs_the_people_of_every_product_in(scene: Any, preset: str, product: Product) -> None:
    at = scene(preset, product)
    page = at.sign_in()
    assert at.host.reasons() == [], [row.detail for row in at.host.rows("samljit_attempt")]
    assert (page.status, page.text) == (200, "user 1")
    [user] = at.host.users()
    assert (user["email"], user["first_name"], user["last_name"]) == ("adele.vance@contoso.example", "Adele", "Vance")
    [identity] = at.host.rows("samljit_identity")
    assert (identity.source, identity.subject) == product.known_by
    assert [row.role for row in at.host.rows("samljit_role_grant")] == ["editor"]


@each_product
def test_a_changed_claim_is_brought_over_at_the_next_sign_in(scene: Any, preset: str, product: Product) -> None:
    at = scene(preset, product)
    at.sign_in()
    [given] = [name for name, values in product.claims.items() if values == ("Adele",)]
    assert at.sign_in(claims={**product.claims, given: ("Ad\u00e8le & <Co>",)}).text == "user 1"
    assert [user["first_name"] for user in at.host.users()] == ["Ad\u00e8le & <Co>"]


@each_product
def test_every_product_can_start_a_sign_in_where_that_is_allowed(scene: Any, preset: str, product: Product) -> None:
    at = scene(preset, product, tenant={"allow_idp_initiated": True})
    browser = at.host.browser()
    browser.get("https://portal.example/")
    xml = at.answer(url=None)
    page = browser.submit(Form(ACS, fields=(("SAMLResponse", base64.b64encode(xml).decode()),)), by_script=True)
    assert page.text == "user 1"


def test_adfs_names_our_certificate_where_it_encrypts(scene: Any, tmp_path: Path) -> None:
    own = signing_key("our own")
    at = scene("adfs", ADFS, sp=key_files(tmp_path, own=own))

    def encrypt(xml: bytes) -> bytes:
        root = etree.fromstring(xml)
        encrypt_assertion(root, root[-1], Encryption(own.certificate_der))
        method = next(root.iter("{http://www.w3.org/2001/04/xmlenc#}EncryptedKey"))[0]
        serial = (
            f'<KeyInfo xmlns="{DS}"><ds:X509Data xmlns:ds="{DS}"><ds:X509IssuerSerial><ds:X509IssuerName>CN=app</ds:X509IssuerName>'
            "<ds:X509SerialNumber>7</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data></KeyInfo>"
        )
        method.addnext(etree.fromstring(serial))
        return etree.tostring(root)

    assert at.sign_in(edit=encrypt).text == "user 1"


def test_external_id_is_entra_on_another_host(tmp_path: Path) -> None:
    tenant_id = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
    sso = f"https://contoso.ciamlogin.com/{tenant_id}/saml2"
    entra = FakeEntra(tenant_id, sso_url=sso)
    host = make_host(tmp_path, entra=entra, settings=settings_for(tmp_path, entra, tenant={"preset": "entra_external_id"}))
    assert host.sign_in().text == "user 1"
    [identity] = host.rows("samljit_identity")
    assert identity.subject == ADELE.object_id
    other = Person(object_id=ADELE.object_id, given_name="Adele", email=ADELE.email, extra={TENANT_ID: ["0" * 8 + tenant_id[8:]]})
    assert (host.sign_in(other).status, host.reasons()) == (403, ["tenant_mismatch"])
    host.engine.dispose()


TENANT_ID = "http://schemas.microsoft.com/identity/claims/tenantid"


# --- what a preset lets through, and what nobody can do with it -------------------------------------------------------


def desk(preset: str, product: Product) -> tuple[Desk, Callable[..., bytes]]:
    """The validator alone, and the product's writer for it."""
    at = Desk(changes={"preset": preset, "entra_tenant_id": None, "join_duplicate_attributes": PRESETS[preset].repeats_attributes})
    assert at.tenant.idp is not None
    idp = IdentityProvider(product.entity_id, product.sso_url, at.tenant.idp.certificates)
    at.tenant = replace(at.tenant, idp=idp, mapping=MappingRules("NameID"))

    def write(now: datetime, **changes: Any) -> bytes:
        values: dict[str, Any] = {
            "issuer": product.entity_id,
            "acs": ACS,
            "audience": ENTITY_ID,
            "request_id": at.request_id(now),
            "name_id": product.name_id,
            "name_id_format": product.name_id_format,
            "claims": product.claims,
            "now": now,
            "key": at.entra.key,
            **idps.new_ids(),
        }
        return product.write(idps.Answer(**{**values, **changes}))

    return at, write


def judge(preset: str, product: Product, edit: Callable[[bytes], bytes] = lambda xml: xml, **changes: Any) -> Reason | None:
    at, write = desk(preset, product)
    now = datetime.now(UTC)
    return at.reason(edit(write(now, **changes)), now=now)


OWN_DIALECT = {"google": Reason.SIGNATURE_SHAPE, "keycloak": Reason.SIGNATURE_SHAPE, "generic-numbered-signatures": Reason.SIGNATURE_SHAPE}


@pytest.mark.parametrize("name", PRODUCTS)
def test_5_a_dialect_is_let_through_for_its_own_preset_alone(name: str) -> None:
    preset, product = PRODUCTS[name]
    assert judge(preset, product) is None
    assert judge("entra", product) is OWN_DIALECT.get(name)


def test_5_all_but_the_dialect_is_one_shape() -> None:
    alike = [preset for preset in PRESETS if response_shape(preset) == response_shape("entra")]
    assert alike == ["entra", "entra_external_id", "adfs", "okta"]


@pytest.mark.parametrize("hint", ["key-value", "certificate", "both"])
def test_7_a_key_that_stands_in_the_message_is_never_taken(hint: str) -> None:
    """An attacker signs with a key of their own and says so, in every way that the preset lets through."""
    thief = signing_key("a stranger's")
    ours = signing_key()

    def edit(xml: bytes) -> bytes:
        changes = {
            "key-value": [(ours.certificate_base64, thief.certificate_base64)],
            "certificate": [(idps.key_value(ours), idps.key_value(thief))],
            "both": [],
        }
        for new, old in changes[hint]:
            xml = xml.replace(old.encode(), new.encode())
        return xml

    assert judge("keycloak", KEYCLOAK, edit, key=thief) is Reason.SIGNATURE_INVALID
    assert judge("generic", replace(KEYCLOAK, claims={"a": ("b",)}), edit, key=thief) is Reason.SIGNATURE_INVALID


def ids(xml: bytes) -> tuple[str, str]:
    root = etree.fromstring(xml)
    return root.get("ID"), root[-1].get("ID")


NUMBERS: dict[str, tuple[Callable[[str, str], str], Reason]] = {
    "3-the-responses-id": (lambda response, assertion: response, Reason.SHAPE_UNEXPECTED),
    "3-the-assertions-id": (lambda response, assertion: assertion, Reason.SHAPE_UNEXPECTED),
    "3-the-other-signatures": (lambda response, assertion: "Signature2", Reason.SHAPE_UNEXPECTED),
    "3-empty": (lambda response, assertion: "", Reason.SHAPE_UNEXPECTED),
    "3-no-name": (lambda response, assertion: "1", Reason.SHAPE_UNEXPECTED),
    "3-with-a-blank": (lambda response, assertion: f" {assertion}", Reason.SHAPE_UNEXPECTED),
    "3-long": (lambda response, assertion: "x" * 300, Reason.SHAPE_UNEXPECTED),
}


@pytest.mark.parametrize(("number", "reason"), NUMBERS.values(), ids=NUMBERS)
def test_the_number_of_a_signature_is_nobody_elses_id(number: Callable[[str, str], str], reason: Reason) -> None:
    """The schema makes IDs of them: one that is an assertion's too could stand in its place where a reference is followed."""

    def edit(xml: bytes) -> bytes:
        return swap('Id="Signature1"', f'Id="{number(*ids(xml))}"')(xml)

    assert judge("generic", NUMBERED, edit) is reason


ELSEWHERE = ["SignedInfo", "Reference", "SignatureValue", "KeyInfo", "X509Data", "Transforms", "DigestMethod"]


@pytest.mark.parametrize("tag", ELSEWHERE, ids=[f"3-id-on-{tag}" for tag in ELSEWHERE])
@pytest.mark.parametrize("attribute", ["Id", "ID", "id", "xml:id"])
def test_no_other_part_of_a_signature_has_a_number(tag: str, attribute: str) -> None:
    assert judge("generic", NUMBERED, swap(f"<ns2:{tag}", f'<ns2:{tag} {attribute}="a1"', times=1)) is Reason.SIGNATURE_SHAPE


@pytest.mark.parametrize("attribute", ["ID", "id", "iD", "xml:id", "ns1:Id"])
def test_3_a_signature_has_no_other_kind_of_number(attribute: str) -> None:
    assert judge("generic", NUMBERED, swap('Id="Signature1"', f'{attribute}="Signature1"')) is Reason.SIGNATURE_SHAPE


@pytest.mark.parametrize("uri", ["#Signature1", "#Signature2", ""])
def test_5_a_reference_names_its_own_parent_and_no_number(uri: str) -> None:
    at, write = desk("generic", NUMBERED)
    now = datetime.now(UTC)
    xml = write(now)
    response_id, _ = ids(xml)
    assert at.reason(swap(f'URI="#{response_id}"', f'URI="{uri}"')(xml), now=now) is Reason.SIGNATURE_SHAPE


def test_a_number_that_was_put_in_afterwards_changes_nothing() -> None:
    """A Signature stands outside of its own digest, so anybody may number it: the claims stay those that were signed."""
    at, write = desk("generic", SHIBBOLETH)
    now = datetime.now(UTC)
    assertion = at.validate(swap("<ds:Signature ", '<ds:Signature Id="evil" ', times=1)(write(now)), now=now)
    assert dict(assertion.claims) == SHIBBOLETH.claims


def typed(name: str, value: str, *, preset: str, declared: str = 'xmlns:t="http://www.w3.org/2001/XMLSchema"') -> Reason | None:
    """What becomes of a signed response with a value that says it is of this type."""
    xsi = "http://www.w3.org/2001/XMLSchema-instance"

    def write(a: idps.Answer) -> bytes:
        root = etree.fromstring(idps.adfs(a))
        statement = next(root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}AttributeStatement"))
        statement.append(
            etree.fromstring(
                f'<Attribute xmlns="urn:oasis:names:tc:SAML:2.0:assertion" Name="typed"><AttributeValue xmlns:xsi="{xsi}" {declared} '
                f'xsi:type="{name}">{value}</AttributeValue></Attribute>'
            )
        )
        for signature in list(root.iter(f"{{{DS}}}Signature")):
            signature.getparent().remove(signature)
        sign_element(root[-1], a.key)
        return serialize(root)

    return judge(preset, replace(ADFS, write=write))


TYPES = {
    "string": "text",
    "anyType": "text",
    "boolean": "true",
    "integer": "7",
    "int": "7",
    "long": "7",
    "decimal": "7.5",
    "double": "7.5",
    "date": "2026-11-22",
    "dateTime": "2026-11-22T09:00:00Z",
    "anyURI": "urn:x:y",
}


@pytest.mark.parametrize("name", TYPES, ids=[f"5-{name}" for name in TYPES])
def test_values_may_be_of_the_types_that_their_preset_knows(name: str) -> None:
    assert PRESETS["generic"].dialect.value_types == frozenset(TYPES)
    for preset in ("generic", "google", "okta", "entra"):
        expected = None if name in PRESETS[preset].dialect.value_types else Reason.SHAPE_UNEXPECTED
        assert typed(f"t:{name}", TYPES[name], preset=preset) is expected, preset


@pytest.mark.parametrize("name", ["ID", "IDREF", "QName", "NOTATION", "ENTITY", "NCName", "base64Binary", "token", "STRING", ""])
def test_5_no_preset_knows_any_other_type(name: str) -> None:
    assert typed(f"t:{name}", "_a1", preset="generic") is Reason.SHAPE_UNEXPECTED


def test_5_a_type_is_one_of_xml_schemas_own() -> None:
    assert typed("t:string", "x", preset="generic", declared='xmlns:t="urn:x:y"') is Reason.SHAPE_UNEXPECTED
    assert typed("string", "x", preset="generic") is Reason.SHAPE_UNEXPECTED


# --- what a preset says in settings and mapping -----------------------------------------------------------------------

HOSTS = {
    "adfs": (None, "https://fs.contoso.example/adfs/ls/"),
    "okta": (None, "https://sso.contoso.example/app/x/sso/saml"),
    "google": (("accounts.google.com",), "https://accounts.google.com/o/saml2/idp?idpid=C01abcdef"),
    "keycloak": (None, "https://sso.contoso.example/realms/contoso/protocol/saml"),
    "generic": (None, "https://idp.contoso.example/sso"),
}


@pytest.mark.parametrize(("preset", "hosts", "url"), [(preset, *row) for preset, row in HOSTS.items()], ids=HOSTS)
def test_an_idp_lives_where_its_kind_lives(preset: str, hosts: tuple[str, ...] | None, url: str) -> None:
    assert allowed_hosts(preset) == hosts
    assert check_endpoint(url, preset=preset, base_url=ORIGIN) is None
    assert (check_endpoint("https://evil.example/", preset=preset, base_url=ORIGIN) is None) is (hosts is None)
    assert check_endpoint("http://idp.example/", preset=preset, base_url=ORIGIN) is not None


@pytest.mark.parametrize("preset", PRESETS)
def test_only_the_presets_of_entra_need_a_directory(tmp_path: Path, preset: str) -> None:
    tenant = {"name": "Contoso", "preset": preset}
    settings, problems = read_settings({"base_url": ORIGIN, "tenants": {"contoso": tenant}}, base=tmp_path)
    needed = ["missing"] if preset.startswith("entra") else []
    assert [problem.code for problem in problems] == needed
    assert (settings is None) is bool(needed)


@pytest.mark.parametrize(("written", "joined"), [(None, True), (True, True), (False, False)])
def test_keycloak_repeats_attributes_unless_it_is_told_not_to(tmp_path: Path, written: bool | None, joined: bool) -> None:
    tenant = {"name": "Contoso", "preset": "keycloak", "join_duplicate_attributes": written}
    settings, _ = read_settings({"base_url": ORIGIN, "tenants": {"contoso": tenant}}, base=tmp_path)
    assert settings is not None
    assert settings.tenants["contoso"].join_duplicate_attributes is joined
    others = [preset for preset in PRESETS if PRESETS[preset].repeats_attributes]
    assert others == ["keycloak"]


def test_external_id_starts_no_sign_ins(tmp_path: Path) -> None:
    tenant = {"name": "x", "preset": "entra_external_id", "entra_tenant_id": "aaaabbbb-0000-cccc-1111-dddd2222eeee"}
    given = {"base_url": ORIGIN, "tenants": {"contoso": {**tenant, "allow_idp_initiated": True}}}
    assert sorted(problem.code for problem in read_settings(given, base=tmp_path)[1]) == ["login_csrf", "not_started_there"]


def test_a_preset_that_is_not_known_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    given = {"base_url": ORIGIN, "tenants": {"contoso": {"name": "x", "preset": "oktaa"}}}
    [problem] = read_settings(given, base=tmp_path)[1]
    assert (problem.path, problem.code, '"okta"' in problem.hint) == ("$.tenants.contoso.preset", "unknown_preset", True)


def compiled(preset: str, **document: Any) -> tuple[MappingRules | None, list[Problem]]:
    return compile_mapping(document, shape=UserShape(columns={}, protected=frozenset()), path="$", preset=PRESETS[preset])


IDENTITIES = {
    "entra": ("http://schemas.microsoft.com/identity/claims/objectidentifier", []),
    "entra_external_id": ("http://schemas.microsoft.com/identity/claims/objectidentifier", []),
    "adfs": (f"{MICROSOFT_2008}primarysid", []),
    "okta": ("NameID", ["mutable_identity"]),
    "google": ("NameID", ["mutable_identity"]),
    "keycloak": ("NameID", ["mutable_identity"]),
    "generic": ("NameID", ["mutable_identity"]),
}


@pytest.mark.parametrize(("preset", "source", "codes"), [(preset, *row) for preset, row in IDENTITIES.items()], ids=IDENTITIES)
def test_30_people_are_known_by_what_lasts_there_and_a_warning_says_where_it_may_not(preset: str, source: str, codes: list[str]) -> None:
    assert set(IDENTITIES) == set(PRESETS)
    rules, problems = compiled(preset)
    assert rules is not None
    assert (rules.identity_source, [problem.code for problem in problems]) == (source, codes)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("alias", ["emailaddress", "name", "upn", "displayname", "givenname", "surname"])
def test_30_what_can_change_is_warned_about_under_every_name(preset: str, alias: str) -> None:
    assert [problem.code for problem in compiled(preset, identity={"source": alias})[1]] == ["mutable_identity"]


@pytest.mark.parametrize("preset", ["adfs", "okta", "google", "keycloak", "generic"])
def test_an_alias_of_entras_that_means_nothing_elsewhere_is_warned_about(preset: str) -> None:
    rules, problems = compiled(preset, identity={"source": "objectidentifier"})
    assert rules is not None
    assert [problem.code for problem in problems] == ["alias_unknown"]
    rules, problems = compiled(preset, identity={"source": "=objectidentifier"})
    assert rules is not None
    assert (rules.identity_source, problems) == ("objectidentifier", [])


@pytest.mark.parametrize("preset", PRESETS)
def test_35_guests_can_only_be_kept_out_where_the_idp_says_who_they_are(preset: str) -> None:
    rules, problems = compiled(preset, identity={"source": "=an id"}, policy={"guests": "deny"})
    expected = [] if preset.startswith("entra") else ["guests_unknown"]
    assert ([problem.code for problem in problems], rules is None) == (expected, bool(expected))


def test_metadata_asks_for_a_lasting_name_id_where_people_are_known_by_it(scene: Any) -> None:
    at = scene("keycloak", KEYCLOAK)
    root = etree.fromstring(at.host.app.test_client().get(ENTITY_ID).data)
    names = {"md": "urn:oasis:names:tc:SAML:2.0:metadata"}
    assert [one.text for one in root.iterfind(".//md:NameIDFormat", names)] == [idps.PERSISTENT]
    wanted = {one.get("Name"): one.get("FriendlyName") for one in root.iterfind(".//md:RequestedAttribute", names)}
    assert wanted["urn:oid:2.5.4.42"] == "givenname"
    assert wanted["Role"] == "role"


def test_times_of_every_product_lie_within_what_is_accepted() -> None:
    for preset, product in PRODUCTS.values():
        at, write = desk(preset, product)
        now = datetime.now(UTC)
        xml = write(now)
        assert at.reason(xml, now=now + timedelta(hours=3)) in (Reason.EXPIRED, Reason.REQUEST_EXPIRED)
