"""What only an outsider can tell: how far each consumer group is behind, also while its workers are dead."""
