<?php
// The IdP itself. What a test sets stands in hosted.json, under the product's own names, and goes before what stands here.
$uri = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/';
$redirect_and_post = [
    'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect',
    'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST',
];
$given = json_decode(file_get_contents(getenv('INTEROP_STATE') . '/hosted.json'), true);
$metadata[getenv('INTEROP_BASE') . '/saml2/idp/metadata.php'] = $given + [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.key',
    'certificate' => 'idp.crt',
    'auth' => 'people',
    'sign.logout' => true,
    'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:uri',
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
    'SingleSignOnServiceBinding' => $redirect_and_post,
    'SingleLogoutServiceBinding' => $redirect_and_post,
    // one NameID of each kind; the one that the request asks for is sent
    'authproc' => [
        1 => ['class' => 'saml:AttributeNameID', 'attribute' => "{$uri}name",
            'Format' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress'],
        2 => ['class' => 'saml:AttributeNameID', 'attribute' => "{$uri}name",
            'Format' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified'],
        3 => ['class' => 'saml:PersistentNameID', 'attribute' => "{$uri}name"],
    ],
];
