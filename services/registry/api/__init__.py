"""The registry's edge."""

from services.registry.api.app import Parts, build_app

__all__ = ["Parts", "build_app"]
