"""What all pages share: who asks, the page around them, forms, how a tenant stands, and words for what was done and found."""
