"""What runs on the card. Nothing here is called by Python; see ``triton.kernel``."""
