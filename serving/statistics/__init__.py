"""What data looks like: TFX's messages of it, and sketches that become such messages."""
