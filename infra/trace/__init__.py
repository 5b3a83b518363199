"""`twintally trace`: one post through all services."""
