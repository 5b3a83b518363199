"""`twintally status`: the flow as it is now, and what of it needs a person."""
