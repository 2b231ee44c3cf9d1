"""Payments through a provider."""
