"""`make bench`: what an image costs the recognition (`images`), and what the whole path does (`path`)."""
