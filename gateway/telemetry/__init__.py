"""What is told to operators, all made from one ExchangeRecord."""
