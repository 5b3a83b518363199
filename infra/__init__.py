"""What runs Twintally: the command line, the topics, the local stack."""
