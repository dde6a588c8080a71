"""Whose claims become what: fields, accounts and roles in the draft of the mapping, and the sign-in rules."""
