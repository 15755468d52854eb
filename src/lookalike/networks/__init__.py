"""Networks of the source methods: modules only, built and run by others."""
