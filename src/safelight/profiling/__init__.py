"""What is in the data: measured, and put into advice. It knows nothing of how a page looks."""
