"""Sending a Delivery: what is sent, how, and the record of every try."""
