"""A child process that is fed every hostile document there is, and says how long each took and why it was refused.

`python -m tests.trust.hostile <fifo> <port>` prints JSON: [{"name", "seconds", "reason", "bytes"}, ...] and the growth of memory.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from samljit.errors import AssertionRejected
from samljit.saml.gate import MAX_XML, decode_response
from samljit.testing import Claim, KeyPair, claims_of, signing_key
from tests.host import ADELE
from tests.trust.forge import Desk, cut_out, sealed

MEMORY = 2 * 1024**3  # address space of the child, bytes
XENC = "http://www.w3.org/2001/04/xmlenc#"
RESPONSE = b"<samlp:Response "


def replaced(xml: bytes, old: bytes, new: bytes) -> bytes:
    assert old in xml, old
    return xml.replace(old, new, 1)


def filled(piece: Callable[[int], bytes], room: int = MAX_XML - 12_000, most: int = 100_000) -> bytes:
    parts, size = [], 0
    for number in range(most):
        part = piece(number)
        size += len(part)
        if size > room:
            break
        parts.append(part)
    return b"".join(parts)


def reference(uri: str, *, transforms: str = "") -> bytes:
    return (
        f'<Reference URI="{uri}"><Transforms>{transforms}</Transforms>'
        f'<DigestMethod Algorithm="{XENC}sha256"/><DigestValue>AAAA</DigestValue></Reference>'
    ).encode()


def outside(xml: bytes, urls: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """What names something outside of the message: by every element that anything might follow."""
    info, end = b"</SignedInfo>", b"</Signature>"
    own = xml.split(b'URI="')[1].split(b'"')[0]
    for kind, url in urls.items():
        named = url.encode()
        yield f"reference-{kind}", replaced(xml, info, reference(url) + info)
        yield f"own-reference-{kind}", replaced(xml, b'URI="' + own, b'URI="' + named)
        yield f"manifest-{kind}", replaced(xml, end, b"<Object><Manifest>" + reference(url) + b"</Manifest></Object>" + end)
        yield f"retrieval-{kind}", replaced(xml, b"<X509Data>", b'<RetrievalMethod URI="' + named + b'"/><X509Data>')
        cipher = f'<EncryptedData xmlns="{XENC}"><CipherData><CipherReference URI="{url}"/></CipherData></EncryptedData>'.encode()
        key = cipher.replace(b"EncryptedData", b"EncryptedKey")
        encrypted = b'<EncryptedAssertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion">'
        bare = xml[: xml.index(b"<Assertion ")]
        yield f"cipher-reference-{kind}", bare + encrypted + cipher + b"</EncryptedAssertion></samlp:Response>"
        yield f"key-reference-{kind}", bare + encrypted + cipher + key + b"</EncryptedAssertion></samlp:Response>"
        yield f"doctype-{kind}", b'<!DOCTYPE r SYSTEM "' + named + b'">' + xml
        entity = f'<!DOCTYPE r [<!ENTITY % p SYSTEM "{url}"> %p; <!ENTITY e SYSTEM "{url}">]>'.encode()
        yield f"entity-{kind}", entity + replaced(xml, b">Adele<", b">&e;<")
        yield f"entity-utf-16-{kind}", (entity + replaced(xml, b">Adele<", b">&e;<")).decode().encode("utf-16-le")
        yield f"stylesheet-{kind}", b'<?xml-stylesheet type="text/xsl" href="' + named + b'"?>' + xml
        include = b'><i:include xmlns:i="http://www.w3.org/2001/XInclude" href="' + named + b'"/><'
        yield f"include-{kind}", replaced(xml, b">Adele<", include)
        schema = b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x ' + named + b'" '
        yield f"schema-{kind}", replaced(xml, RESPONSE, RESPONSE + schema)
        xslt = f'<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:import href="{url}"/></xsl:stylesheet>'
        transform = f'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116">{xslt}</Transform></Transforms>'.encode()
        yield f"xslt-{kind}", replaced(xml, b"</Transforms>", transform)


def bombs() -> Iterator[tuple[str, bytes]]:
    declared = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 12))
    laughs = f"<!DOCTYPE r [<!ENTITY e0 'ha'>{declared}]>"
    quadratic = f"<!DOCTYPE r [<!ENTITY e '{'a' * 60_000}'>]>"
    yield "billion-laughs", f"{laughs}<r>&e11;</r>".encode()
    yield "billion-laughs-utf-16", f'<?xml version="1.0"?>{laughs}<r a="&e11;">&e11;</r>'.encode("utf-16-le")
    yield "quadratic-blow-up", f"{quadratic}<r>{'&e;' * 20_000}</r>".encode()
    yield "quadratic-blow-up-utf-16", f'<?xml version="1.0"?>{quadratic}<r a="{"&e;" * 10_000}"/>'.encode("utf-16-be")[:MAX_XML]
    yield "deep", b"<a>" * 30_000 + b"</a>" * 30_000
    yield "deep-below-the-limit", b"<a>" * 255 + b"</a>" * 255
    yield "deep-and-never-closed", b"<a>" * 80_000
    yield "elements", b"<a>" + b"<b/>" * 60_000 + b"</a>"
    yield "attributes", b"<a " + filled(lambda n: b'a%d="" ' % n) + b"/>"
    yield "attributes-below-the-limit", b"<a " + filled(lambda n: b'a%d="" ' % n, most=9990) + b"/>"
    yield "namespaces", b"<a " + filled(lambda n: b'xmlns:a%d="u:%d" ' % (n, n)) + b"/>"
    yield "namespaces-below-the-limit", b"<a " + filled(lambda n: b'xmlns:a%d="u:%d" ' % (n, n), most=9990) + b"/>"
    yield "namespaces-nested", filled(lambda n: b'<a%d:a xmlns:a%d="u:%d">' % (n, n, n), most=250)
    yield "one-long-name", b"<" + b"a" * (MAX_XML - 10) + b"/>"
    yield "one-long-attribute", b'<a b="' + b"a" * (MAX_XML - 20) + b'"/>'
    yield "one-long-text", b"<a>" + b"a" * (MAX_XML - 20) + b"</a>"
    yield "white-space", b" " * MAX_XML
    yield "references-to-characters", b"<a>" + b"&#65;" * 50_000 + b"</a>"
    yield "brackets", b"<" * MAX_XML
    yield "ampersands", b"<a>" + b"&" * (MAX_XML - 10)
    yield "quotes", b"<a " + b"\"'" * 100_000
    yield "declarations", b'<?xml version="1.0" ' + b"encoding=" * 25_000 + b"?><a/>"
    yield "nuls", b"\0" * MAX_XML
    yield "empty", b""
    yield "utf-16-flood", ("<a>" * 40_000).encode("utf-16-le")


def floods(xml: bytes, *, room: int = MAX_XML - 12_000) -> Iterator[tuple[str, bytes]]:
    """In a message that carries a genuine signature, as everybody has one who can sign in; in up to `room` bytes each."""
    exc = b'<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
    algorithm = b'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">'
    xpath = algorithm + b"<XPath>//*[count(//*)&gt;0]//*[count(//*)]</XPath></Transform>"
    yield "references", replaced(xml, b"</SignedInfo>", reference("#x") * 1000 + b"</SignedInfo>")
    yield "transforms", replaced(xml, b"</Transforms>", exc * 3000 + b"</Transforms>")
    yield "xpaths", replaced(xml, b"</Transforms>", xpath * 700 + b"</Transforms>")
    yield "certificates", replaced(xml, b"<X509Data>", b"<X509Data>" + b"<X509Certificate>AAAA</X509Certificate>" * 3000)
    yield "long-signature-value", replaced(xml, b"<SignatureValue>", b"<SignatureValue>" + b"A" * 16_000)
    prefixes = b'><InclusiveNamespaces xmlns="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="' + b"a " * 2000 + b'"/></Transform>'
    yield "long-prefix-list", replaced(xml, exc, exc[:-2] + prefixes)
    for name, place in {"response": RESPONSE, "assertion": b"<Assertion ", "signature": b"<Signature ", "info": b"<SignedInfo"}.items():
        spaces = b" " + filled(lambda n: b'xmlns:a%d="u:%d" ' % (n, n), room, most=9000)
        yield f"namespaces-on-{name}", replaced(xml, place, place + spaces)
        few = b" " + filled(lambda n: b'xmlns:a%d="u:%d" ' % (n, n), most=60)
        yield f"sixty-namespaces-on-{name}", replaced(xml, place, place + few)
    value = b"<AttributeValue>x</AttributeValue>"
    yield "values", replaced(xml, b"</AttributeValue>", b"</AttributeValue>" + value * 3800)
    many = b" " + filled(lambda n: b'xmlns:a%d="u:%d" ' % (n, n), most=60)
    loaded = b"<AttributeValue" + many + b">x</AttributeValue>"
    yield "values-with-namespaces", replaced(xml, b"</AttributeValue>", b"</AttributeValue>" + loaded * 150)
    yield "white-space-inside", replaced(xml, b"<Conditions", b" " * (room - 20_000) + b"<Conditions")
    yield "carriage-returns-inside", replaced(xml, b"<Conditions", b"&#13;" * (room // 5 - 5_000) + b"<Conditions")
    yield "audiences", replaced(xml, b"<Audience>", b"<Audience>x</Audience>" * 3900 + b"<Audience>")
    long = b"<AttributeValue>" + b"&amp;" * 3000 + b"</AttributeValue>"
    yield "long-values", replaced(xml, b"</AttributeValue>", b"</AttributeValue>" + long * 15)


def encrypted(xml: bytes, to: KeyPair) -> Iterator[tuple[str, bytes]]:
    """What anybody can encrypt to our key, which stands in our metadata: the same once more, where the gate sees it only afterwards."""
    room = MAX_XML * 3 // 4 - 16_000
    before, assertion, after = cut_out(xml)
    for name, made in floods(xml, room=room):
        if (flooded := cut_out(made)[1]) != assertion:
            yield f"{name}-encrypted", before + sealed(flooded, to) + after
    for name, made in bombs():
        yield f"{name}-encrypted", before + sealed(made[:room], to) + after
    again = assertion
    for depth in range(1, 5):
        again = sealed(again, to)
        yield f"encrypted-{depth + 1}-times", before + sealed(again, to) + after
    long = sealed(assertion, to).replace(b"<CipherValue>", b"<CipherValue>" + b"AAAA" * (room // 3), 2)
    yield "long-encrypted-key", before + long.replace(b"AAAA" * (room // 3), b"", 1) + after
    yield "padded-inside-encrypted", before + sealed(assertion + b" " * (room - len(assertion)), to) + after
    yield "padded-behind-encrypted", before + sealed(assertion, to) + b" " * room + after


def genuine_floods(desk: Desk, now: datetime) -> Iterator[tuple[str, bytes]]:
    """Signed by the tenant's own IdP, whose admin may be anybody."""
    base = claims_of(ADELE, desk.entra.tenant_id)
    for sign in ("assertion", "response", "both"):
        how: dict[str, Any] = {"now": now, "sign": sign}
        yield f"signed-thousand-groups-{sign}", desk.respond(claims=(*base, Claim("g", ("0" * 36,) * 1000)), **how)
        yield f"signed-many-claims-{sign}", desk.respond(claims=(*base, *(Claim(f"c{n}", ("v",) * 30) for n in range(80))), **how)
        yield f"signed-long-values-{sign}", desk.respond(claims=(*base, Claim("l", ("&<>\"'\r" * 600,) * 30)), **how)
        yield f"signed-many-values-{sign}", desk.respond(claims=(*base, *(Claim(f"c{n}", ("v",) * 35) for n in range(85))), **how)


def documents(desk: Desk, now: datetime, fifo: str, port: str) -> Iterator[tuple[str, bytes]]:
    urls = {
        "fifo": f"file://{fifo}",
        "path": fifo,
        "http": f"http://127.0.0.1:{port}/x",
        "ftp": f"ftp://127.0.0.1:{port}/x",
        "zero": "file:///dev/zero",
    }
    for sign in ("assertion", "response"):
        xml = desk.respond(now=now, sign=sign)
        for name, made in (*outside(xml, urls), *floods(xml), *encrypted(xml, desk.own_keys[0])):
            yield f"{name}-{sign}-signed", made
    yield from bombs()
    yield from genuine_floods(desk, now)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    desk, now = Desk(own_keys=(signing_key("our own"),)), datetime.now(UTC)
    desk.validate(desk.respond(now=now), now=now)  # whatever is prepared once is prepared
    made = [(name, xml) for name, xml in documents(desk, now, *sys.argv[1:3]) if len(xml) <= MAX_XML]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answers = []
    for name, xml in made:
        text = base64.b64encode(xml).decode()
        start = time.perf_counter()
        try:
            desk.validate(decode_response(text), now=now)
            reason = "accepted"
        except AssertionRejected as rejected:
            reason = rejected.reason.value
        answers.append({"name": name, "seconds": time.perf_counter() - start, "reason": reason, "bytes": len(xml)})
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"answers": answers, "growth_kib": growth}))


if __name__ == "__main__":
    main()
