"""What a version is run on before it serves: samples of its users, and generated inputs."""
