"""The dead letters of all consumers, as an operator works them."""
