"""How fast the gateway is, as ratios to other servers on the same machine."""
