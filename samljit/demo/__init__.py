"""`samljit demo`: a small host app with samljit mounted in it, and Fake Entra's pages, on two sites of one machine."""
