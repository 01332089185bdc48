"""onnxruntime: its sessions, providers and threads, and the instances that run batches.

Nothing outside this room imports onnxruntime.
"""
