<?php
// The service providers, from the very metadata that each of them serves; what a test sets in remote.json goes before it.
$given = json_decode(file_get_contents(getenv('INTEROP_STATE') . '/remote.json'), true);
foreach (glob(getenv('INTEROP_STATE') . '/sp-*.xml') as $file) {
    foreach (SimpleSAML\Metadata\SAMLParser::parseDescriptorsFile($file) as $entity => $parser) {
        $metadata[$entity] = $given + $parser->getMetadata20SP();
    }
}
