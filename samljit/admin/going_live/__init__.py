"""From a draft to what is live: the test sign-in, what would change, and whether it may."""
