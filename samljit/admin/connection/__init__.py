"""How a tenant is connected with Entra: set up in three steps, its certificates, its domains."""
