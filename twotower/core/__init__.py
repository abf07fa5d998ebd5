"""What every room uses: errors, files, cache, text for people, secrets, the host. Imports nothing of the others."""
