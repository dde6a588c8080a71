"""An IdP's metadata by its address: fetched within bounds, held against what is trusted, kept while the next one is bad."""
