"""What clients ask for, as graph runs: from values and text to arrays and back. Tasks keep nothing."""
