"""The admin pages of a tenant, mounted only where the host says who may open them (`SamlJit(authorize=...)`). Needs Flask-WTF."""
