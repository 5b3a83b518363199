"""What every service speaks: events, money, ids, the stream, the store and its outbox."""
