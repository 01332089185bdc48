"""The request log: sampled requests with what was answered, in files that can be sent again."""
