"""What people see: reports, pictures, explorer."""
