"""Proofs and measurements too long for the tests; each script says what it prints."""
