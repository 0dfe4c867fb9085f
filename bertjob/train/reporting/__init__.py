"""What a rank writes for people and for `status`."""
