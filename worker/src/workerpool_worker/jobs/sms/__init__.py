"""Text messages through a provider."""
