"""Keeps the shop's articles as a supplier's feed has them."""
