"""Mail: rendered from templates, sent over SMTP, once for a business id."""
