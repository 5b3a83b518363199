"""The demo's own pictures: fashion pictures of people who do not exist, drawn from a seed."""

from infra.demo.pictures.portraits import Look, Shot, draw, look_of, person
from infra.demo.pictures.shapes import Image, from_jpeg, to_jpeg

__all__ = ["Image", "Look", "Shot", "draw", "from_jpeg", "look_of", "person", "to_jpeg"]
