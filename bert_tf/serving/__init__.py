"""`bert-tf serve`: an exported model behind HTTP on one machine (extra `serve`)."""
