"""What claims become: fields, accounts and roles, in the draft of the mapping; and the sign-in rules."""
