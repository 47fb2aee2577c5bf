"""Which devices train, what each of them has, and how processes on several machines join."""
