"""The trust requirements in tests: every requirement has one that forges the fault. Test ids begin with the number of the requirement."""
