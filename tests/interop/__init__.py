"""samljit against a real IdP that nobody here wrote: SimpleSAMLphp, from the system's packages."""
