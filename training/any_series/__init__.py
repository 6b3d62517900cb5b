"""What the general streaming model learns from: real series of any frequency, and made ones of many shapes."""
