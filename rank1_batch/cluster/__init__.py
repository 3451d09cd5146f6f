"""Ray: the machines, the units that stream to them, and what comes back. Nothing else imports Ray."""
