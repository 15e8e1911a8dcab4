"""Pages in a real browser. A package, so that the browser ends with its last test: no event loop can run beside it."""
