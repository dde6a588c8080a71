"""What all pages share: who asks, the page and the menu around them, forms, how a tenant stands, and words for what was done and found."""
