"""The royalty service."""
