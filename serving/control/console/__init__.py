"""The console: a page for browsers at the admin port's ``/``, and the calls that it lives on."""
