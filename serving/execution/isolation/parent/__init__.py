"""A child process as the server sees it: started, asked, started again."""
