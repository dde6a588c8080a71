<?php
// SimpleSAMLphp as the tests run it, from the state that they write: see tests/interop/idp.py. Read anew at every request.
$state = getenv('INTEROP_STATE');
$secret = hash_file('sha256', "$state/idp.key");
$config = [
    'baseurlpath' => getenv('INTEROP_BASE') . '/',
    'certdir' => "$state/",
    'datadir' => "$state/",
    'tempdir' => "$state/tmp",
    'loggingdir' => "$state/",
    'logging.handler' => 'stderr',
    'logging.level' => SimpleSAML\Logger::INFO,
    'metadatadir' => __DIR__ . '/metadata/',
    'metadata.sources' => [['type' => 'flatfile']],
    'secretsalt' => $secret,
    'auth.adminpassword' => $secret,
    'technicalcontact_email' => 'idp@contoso.example',
    'timezone' => 'UTC',
    'enable.saml20-idp' => true,
    'module.enable' => ['core' => true, 'exampleauth' => true, 'saml' => true],
    'store.type' => 'phpsession',
    'session.phpsession.savepath' => "$state/sessions",
    // plain http on loopback: what would need https is left out
    'session.cookie.secure' => false,
    'session.cookie.samesite' => null,
    'language.cookie.secure' => false,
    'language.cookie.samesite' => null,
    'enable.http_post' => true,
    'admin.checkforupdates' => false,
    // where a RelayState may lead
    'trusted.url.regex' => true,
    'trusted.url.domains' => ['(127\.0\.0\.1|localhost)(:\d+)?'],
];
