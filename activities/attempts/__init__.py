"""Execute one Attempt, from the activity's input to a durable outcome."""
