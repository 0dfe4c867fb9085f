"""Ranks, rendezvous, transport and the failure of peers."""
