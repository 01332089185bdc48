"""The admin port: for operators, apart from the data."""
