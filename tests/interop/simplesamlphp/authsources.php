<?php
$people = json_decode(file_get_contents(getenv('INTEROP_STATE') . '/people.json'), true);
$users = ['exampleauth:UserPass'];
foreach ($people as $name => $person) {
    $users["$name:{$person['password']}"] = $person['claims'];
}
$config = ['admin' => ['core:AdminPassword'], 'people' => $users];
