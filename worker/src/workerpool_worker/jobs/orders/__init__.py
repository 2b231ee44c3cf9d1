"""Orders: stock, invoice, and the jobs that follow."""
