"""The example shop's surroundings: a mail sink and a PostgreSQL. For trying and testing, not for production."""
