"""What has happened: the sign-in log, and the changes that people made."""
