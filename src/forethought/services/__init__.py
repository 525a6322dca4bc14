"""Every user action is one function here."""
