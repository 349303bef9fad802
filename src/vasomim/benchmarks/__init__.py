"""What is measured, and the plain references it is measured against."""
