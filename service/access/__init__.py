"""Who may do what: API keys, what each may ask for, and the caller whom a request comes from."""
