"""Sign-in (api.md section 3), and identities with their rights (section 20) over HTTP."""
